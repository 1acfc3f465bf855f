"""The exception tree. Every error names where, field, value, what is allowed and the fix.

    AcdcError                     exit 3 unless a subclass says otherwise
    ├── InvalidInput              exit 2: what the user gave cannot be used
    │   ├── SpecError             a YAML or JSONL file, or one of its fields
    │   ├── UnknownName           no such task, model, method, metric, run, …
    │   ├── PromptError           prompts that this tokenizer cannot express or align
    │   │   └── NoSpans           prompts whose tokens have no names, for a graph with positions
    │   ├── GraphError            a node, edge or circuit that does not exist in this graph
    │   ├── UnsupportedModel      an architecture the engine does not reproduce
    │   ├── ParityError           the engine's logits differ from the model's
    │   └── StoreError            the results store cannot be read or written
    │       ├── StoreFailed       exit 3: a write failed (store full, unreachable, now read-only)
    │       └── DamagedRun        a run whose files do not match its commit marker
    │           └── NewerRun      a run that a newer version of this program committed
    ├── ExecutionFailed           exit 3: a run did not finish
    │   └── OutOfMemoryBudget     the byte budget is too small for a single prompt
    └── BaselineError             exit 4: a baseline is missing or incompatible

Errors keep their parts as plain attributes and rebuild from them, so they survive pickling
between processes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import ClassVar, Self

_SUGGESTION = "; did you mean '"
"""In a problem, comes before the nearest name; a long list of what is allowed is then left out."""

_SHORT_LIST = 50

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class AcdcError(Exception):
    """Root of every error this package raises on purpose.

    Args:
        problem: what is wrong, one line, without a full stop.
        where: file, command or object the problem sits in (`tasks/ioi/task.yaml`).
        field: dotted path inside `where` (`corrupted.A`).
        allowed: what would have been accepted.
        fix: what to do now, as a command or an instruction.
    """

    exit_code: ClassVar[int] = 3

    def __init__(
        self,
        problem: str,
        *,
        where: str | None = None,
        field: str | None = None,
        allowed: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.where, self.field = where, field
        self.allowed, self.fix = allowed, fix

    @property
    def headline(self) -> str:
        """Place and problem on one line, without what is allowed and the fix."""
        return self._place_and_problem().replace("\n", "\\n")

    def _place_and_problem(self) -> str:
        parts = (self.where, self.field, self.problem)
        return escape_control_characters(": ".join(part for part in parts if part))

    def __str__(self) -> str:
        lines = [self.headline]
        if self.allowed and (_SUGGESTION not in self.problem or len(self.allowed) <= _SHORT_LIST):
            lines.append(f"allowed: {self.allowed}")
        if self.fix:
            lines.append(f"fix: {self.fix}")
        return escape_control_characters("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), self.problem, **self.parts()), ()

    def parts(self) -> dict[str, str | None]:
        """The keyword parts, as plain data."""
        return {name: getattr(self, name) for name in ("where", "field", "allowed", "fix")}

    def at(self, where: str) -> Self:
        """Set `where` unless it is set already, and return the error itself."""
        if self.where is None:
            self.where = where
        return self


class InvalidInput(AcdcError):
    """What the user gave cannot be used. Nothing was written."""

    exit_code = 2


class SpecError(InvalidInput):
    """A specification file, or one of its fields, is not valid."""


class UnknownName(InvalidInput):
    """A name that does not exist."""

    @classmethod
    def among(
        cls,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        where: str | None = None,
        field: str | None = None,
        fix: str | None = None,
    ) -> Self:
        """The error for an unknown `name` of `kind`, suggesting the nearest of `known`."""
        known = sorted(known)
        allowed = ", ".join(known) or "none exist yet"
        problem = unknown(kind, name, known)
        return cls(problem, where=where, field=field, allowed=allowed, fix=fix or LISTS.get(kind))


LISTS: Mapping[str, str] = {
    "zoo model": "'acdc models list' shows all",
    "method": "'acdc discover --help' shows all",
    "metric": "'acdc discover --help' shows all",
    "score": "'acdc heads --score list' shows all",
    "format": "'acdc runs export --help' shows all",
}
"""The commands that list the names of a kind."""


class PromptError(InvalidInput):
    """Prompts that cannot be expressed or aligned under a model's tokenizer."""


class NoSpans(PromptError):
    """Prompts whose tokens have no names, for a graph with positions."""


class GraphError(InvalidInput):
    """A node, edge or circuit that does not exist in this graph."""


class UnsupportedModel(InvalidInput):
    """The engine does not reproduce this architecture, and refuses to approximate it."""


class ParityError(InvalidInput):
    """The engine's logits differ from the model's own by more than the tolerance."""


class StoreError(InvalidInput):
    """The results store cannot be read or written."""


class StoreFailed(StoreError):
    """A write to the store failed while a run was in progress; the run did not finish."""

    exit_code = 3


class DamagedRun(StoreError):
    """A run whose files do not match its commit marker; it is treated as absent."""


class NewerRun(DamagedRun):
    """A run that a newer version committed; it is neither read nor replaced."""


class ExecutionFailed(AcdcError):
    """A run did not finish."""

    @property
    def headline(self) -> str:
        """Place and problem; the message of another library keeps its lines."""
        return self._place_and_problem()


class OutOfMemoryBudget(ExecutionFailed):
    """The byte budget does not hold a single prompt."""


class BaselineError(AcdcError):
    """A baseline is missing or was made under incompatible conditions."""

    exit_code = 4


def check_whole(
    value: object,
    field: str,
    least: int,
    most: int | None = None,
    *,
    where: str | None = None,
) -> None:
    """Raise InvalidInput unless `value` is a whole number from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(
            f"'{shorten_value(value)}' is not a whole number", where=where, field=field
        )
    if value < least:
        raise InvalidInput(
            f"{shorten_value(value)} is too small",
            where=where,
            field=field,
            allowed=f"at least {least}",
        )
    if most is not None and value > most:
        raise InvalidInput(
            f"{shorten_value(value)} is too large",
            where=where,
            field=field,
            allowed=f"at most {most}",
        )


def escape_control_characters(text: str) -> str:
    """`text` with control characters and direction marks as escapes (`\\x1b`, `\\u202e`).

    Names, paths and contents of files can come from anywhere, and a terminal would obey them.
    Tabs and line feeds stay.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shorten_value(value: object) -> str:
    """`value` as text, at most 40 characters long."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """The closest of `known` to `name`, the first of several; None if nothing is close."""
    matcher = difflib.SequenceMatcher(b=name.lower())

    def likeness(one: str) -> float:
        matcher.set_seq1(one.lower())
        return matcher.ratio()

    likest = max(((likeness(one), one) for one in known), key=lambda pair: pair[0], default=None)
    return likest[1] if likest is not None and likest[0] >= cutoff else None


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The problem of an unknown name: `unknown metric 'kll'; did you mean 'kl'?`."""
    return f"unknown {kind} '{name}'{suggestion(str(name), known)}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'kl'?` when one of `known` is close to `name`, else nothing."""
    return suggest(nearest(name, list(known)))


def suggest(name: str | None) -> str:
    """`; did you mean 'kl'?` for the name `kl`, nothing for None."""
    return f"{_SUGGESTION}{name}'?" if name else ""
