"""References to models: `zoo:NAME`, `hf:ORG/NAME[@REVISION]`, `dir:PATH`, `gguf:FILE`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from acdc_pipeline.errors import SpecError, nearest
from acdc_pipeline.specs.names import ModelKind

FORMS = "zoo:NAME, hf:ORG/NAME[@REVISION], dir:PATH, gguf:FILE"

GGUF_SUFFIX = ".gguf"

_ZOO = re.compile(r"[a-z0-9][a-z0-9-]*\Z", re.ASCII)
_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w./-]*))?\Z", re.ASCII)

# Models that papers and older code name without their organisation.
_HOMES = (
    (r"gpt2(-medium|-large|-xl)?", "openai-community"),
    (r"distilgpt2", "distilbert"),
    (r"pythia-[0-9.]+[mb](-deduped)?", "EleutherAI"),
    (r"opt-[0-9.]+[mb]", "facebook"),
)


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A reference to a model that need not be loaded yet.

    Args:
        kind: `zoo`, `hf`, `dir` or `gguf`.
        name: name in the zoo, `ORG/NAME`, or the path as given.
        revision: for `hf` only; None is the newest, resolved when the run is planned.
    """

    kind: ModelKind
    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" + (f"@{self.revision}" if self.revision else "")

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """The reference in `text`.

        Only `dir:` and `gguf:` may hold a path.

        Raises:
            SpecError: `text` has none of these forms.
        """
        kind, colon, name = text.partition(":")
        if not colon or kind not in get_args(ModelKind):
            raise SpecError(
                f"'{text}' is not a model reference", allowed=FORMS, fix=_guess(kind, name, colon)
            )
        if kind == "zoo" and _ZOO.match(name):
            return cls("zoo", name)
        if kind == "hf" and (match := _HUB.match(name)) and ".." not in name:
            return cls("hf", match[1], match[2])
        if kind in ("dir", "gguf") and name.strip():
            return cls(kind, name)
        fix = f"did you mean 'hf:{_home(name)}'?" if kind == "hf" and _home(name) else None
        raise SpecError(f"'{text}' is not a model reference", allowed=FORMS, fix=fix)


def _guess(kind: str, name: str, colon: str) -> str | None:
    if colon:
        close = nearest(kind, get_args(ModelKind))
        return f"did you mean '{close}:{name}'?" if close else None
    if kind and Path(kind).is_dir():
        return f"did you mean 'dir:{kind}'?"
    if kind.lower().endswith(GGUF_SUFFIX):
        return f"did you mean 'gguf:{kind}'?"
    if home := _home(kind):
        return f"did you mean 'hf:{home}'?"
    if _ZOO.match(kind):
        return (
            f"did you mean 'zoo:{kind}'? 'acdc models list' shows the zoo; "
            f"a model of the Hugging Face hub is 'hf:ORG/{kind}'"
        )
    return f"did you mean 'hf:{kind}'?" if _HUB.match(kind) else None


def _home(name: str) -> str | None:
    """`ORG/NAME` of a hub model that papers call NAME."""
    homes = (home for pattern, home in _HOMES if re.fullmatch(pattern, name.lower()))
    return next((f"{home}/{name.lower()}" for home in homes), None)
