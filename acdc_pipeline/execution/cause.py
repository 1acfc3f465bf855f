"""From an exception to the cause that is kept with a failed run, without paths of this machine."""

from __future__ import annotations

import traceback
from pathlib import Path

import acdc_pipeline
from acdc_pipeline.errors import AcdcError
from acdc_pipeline.execution.planned import PlannedRun
from acdc_pipeline.store import RunFailure

LAST_LINES = 12
"""Lines of a traceback that are kept: where it happened is at the end."""

_MOST_CHARACTERS = 2000


def failure_of(
    planned: PlannedRun, error: Exception, *, worker: str, attempts: int = 1
) -> RunFailure:
    """What the store keeps of a run that ended in `error`.

    An error of ours keeps its parts. Any other is a bug, here or in a library: it keeps its class,
    its message, and the last lines of its traceback.
    """
    if isinstance(error, AcdcError):
        return RunFailure(
            planned.run,
            type(error).__name__,
            error.problem,
            attempts,
            worker,
            where=error.where,
            field=error.field,
            allowed=error.allowed,
            fix=error.fix,
        )
    said = str(error).strip() or repr(error)
    return RunFailure(
        planned.run,
        type(error).__name__,
        _cut(said),
        attempts,
        worker,
        fix="report it with the traceback in FAILED.json",
        traceback=last_lines(error),
    )


def last_lines(error: BaseException) -> tuple[str, ...]:
    """Where `error` happened, innermost last: `execution/worker.py:91 in execute: …`."""
    frames = traceback.extract_tb(error.__traceback__)[-(LAST_LINES - 1) :]
    said = "".join(traceback.format_exception_only(error)).strip()
    lines = (f"{_short(f.filename)}:{f.lineno} in {f.name}: {f.line or ''}" for f in frames)
    return (*lines, _cut(said))


def _short(filename: str) -> str:
    """A file of ours by its place in the package, any other by its name and folder."""
    path, package = Path(filename), Path(acdc_pipeline.__file__).parent
    if path.is_relative_to(package):
        return str(path.relative_to(package))
    return "/".join(path.parts[-2:])


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
