"""References to models: `zoo:NAME`, `hf:ORG/NAME[@REVISION]`, `dir:PATH`, `gguf:FILE`.

`memory:NAME` names a model that a caller held in memory. It cannot be loaded by its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from acdc_pipeline.errors import SpecError, nearest
from acdc_pipeline.specs.names import ModelKind

FORMS = "zoo:NAME, hf:ORG/NAME[@REVISION], dir:PATH, gguf:FILE"

_LOADABLE = ("zoo", "hf", "dir", "gguf")
_IN_MEMORY = "memory:"

GGUF_SUFFIX = ".gguf"
_CHECKPOINT = re.compile(r".+\.(pt|pth|ckpt|bin|npz|safetensors)\Z", re.IGNORECASE)

_ZOO = re.compile(r"[a-z0-9][a-z0-9-]*\Z", re.ASCII)
_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w./-]*))?\Z", re.ASCII)

# Models that papers and older code name without their organisation.
_HOMES = (
    (r"gpt2(-medium|-large|-xl)?", "openai-community"),
    (r"distilgpt2", "distilbert"),
    (r"pythia-[0-9.]+[mb](-deduped)?", "EleutherAI"),
    (r"opt-[0-9.]+[mb]", "facebook"),
)

_OTHER_NAMES = {"gpt2-small": "openai-community/gpt2"}
"""Models of the hub that papers call by a name that the hub does not have."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A reference to a model that need not be loaded yet.

    Args:
        kind: `zoo`, `hf`, `dir` or `gguf`; `memory` for a model that the caller held.
        name: name in the zoo, `ORG/NAME`, the path as given, or the name of a model in memory.
        revision: for `hf` only; None is the newest, resolved when the run is planned.
    """

    kind: ModelKind
    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" + (f"@{self.revision}" if self.revision else "")

    @classmethod
    def parse(cls, text: str | Any) -> ModelRef:
        """The reference in `text`.

        Only `dir:` and `gguf:` may hold a path. Of hub models `hf:` may be left out (`ORG/NAME`),
        and the organisation of models that papers call by a name alone (`gpt2`, `pythia-70m`).

        Raises:
            SpecError: `text` has none of these forms, or it is the name of a hub model and the
                path of a folder.
        """
        if not isinstance(text, str):
            raise SpecError(
                f"a {type(text).__name__} is not a model reference: workers load models by their "
                "references, and cannot load one that is in memory here",
                allowed=FORMS,
                fix="pass it to discover, evaluate or profile_heads; or save it, and give its "
                "folder as dir:PATH",
            )
        if is_in_memory(text):
            raise SpecError(
                f"'{text}' was a model in memory: its weights are in no file",
                allowed=FORMS,
                fix="pass the model itself, from Python: discover(task, model), "
                "circuit.evaluate(model=model); or save it, and give its folder as dir:PATH",
            )
        kind, colon, name = text.partition(":")
        if not colon and (home := _hub_name(text)):
            if Path(text).is_dir():
                raise SpecError(
                    f"'{text}' is a folder, and the name of a hub model",
                    allowed=FORMS,
                    fix=f"did you mean 'dir:{text}'? The hub model is 'hf:{home}'",
                )
            return cls.parse(f"hf:{home}")
        if not colon or kind not in _LOADABLE:
            raise SpecError(
                f"'{text}' is not a model reference", allowed=FORMS, fix=_guess(kind, name, colon)
            )
        if kind == "zoo" and _ZOO.match(name):
            return cls("zoo", name)
        if kind == "hf" and (match := _HUB.match(name)) and ".." not in name:
            return cls("hf", match[1], match[2])
        if kind in ("dir", "gguf") and name.strip():
            return cls(kind, name)
        if kind == "hf" and (home := _home(name)):
            return cls.parse(f"hf:{home}")
        raise SpecError(f"'{text}' is not a model reference", allowed=FORMS)


def full_name(text: str) -> str:
    """The full form of a model reference (`hf:openai-community/gpt2` of `gpt2`).

    Any other text, such as a pattern, is returned unchanged.
    """
    try:
        return str(ModelRef.parse(text))
    except SpecError:
        return text


def is_in_memory(text: str) -> bool:
    """Return whether `text` names a model that a caller held in memory."""
    return text.startswith(_IN_MEMORY)


def _guess(kind: str, name: str, colon: str) -> str | None:
    if colon:
        close = nearest(kind, _LOADABLE)
        return f"did you mean '{close}:{name}'?" if close else None
    if kind and Path(kind).is_dir():
        return f"did you mean 'dir:{kind}'?"
    if kind.lower().endswith(GGUF_SUFFIX):
        return f"did you mean 'gguf:{kind}'?"
    if home := _OTHER_NAMES.get(kind.lower()):
        return f"did you mean 'hf:{home}'?"
    if _CHECKPOINT.match(kind):
        return f"acdc models convert {kind} OUT; then the model is dir:OUT"
    if _ZOO.match(kind):
        if not (files("acdc_pipeline") / "models" / "zoo" / "weights" / kind).is_dir():
            return (
                "'acdc models list' shows the zoo; "
                f"a model of the Hugging Face hub is 'hf:ORG/{kind}'"
            )
        return (
            f"did you mean 'zoo:{kind}'? 'acdc models list' shows the zoo; "
            f"a model of the Hugging Face hub is 'hf:ORG/{kind}'"
        )
    return None


def _hub_name(text: str) -> str | None:
    """`ORG/NAME[@REVISION]` of a hub model written without `hf:`, None for any other text."""
    if text.lower().endswith(GGUF_SUFFIX) or ".." in text:
        return None
    if _CHECKPOINT.match(text) and Path(text).is_file():
        return None
    return text if _HUB.match(text) else _home(text)


def _home(text: str) -> str | None:
    """`ORG/NAME[@REVISION]` of a hub model that papers call NAME."""
    name, at, revision = text.partition("@")
    homes = (home for pattern, home in _HOMES if re.fullmatch(pattern, name.lower()))
    return next((f"{home}/{name.lower()}{at}{revision}" for home in homes), None)
