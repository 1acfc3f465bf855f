"""The cause of a failed run, and its file `FAILED.json`."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

import acdc_pipeline
from acdc_pipeline.errors import AcdcError, ExecutionFailed
from acdc_pipeline.specs import SCHEMA_VERSION, RunSpec
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.store import layout
from acdc_pipeline.store.codec import json_bytes
from acdc_pipeline.store.errors import damaged_run

TRACEBACK_LINES = 12
"""Lines of a traceback that are kept, counted from its end."""

_MAX_CHARACTERS = 2000
_damaged = partial(
    damaged_run,
    field=layout.FAILURE,
    fix="run it again: without a readable cause the run counts as not attempted",
)
_PARTS = ("where", "field", "allowed", "fix")


@dataclass(frozen=True)
class RunFailure:
    """A run that failed, and the cause.

    Args:
        kind: class name of the error, such as `PromptError` or `RuntimeError`.
        where, field, allowed, fix: the other parts of an AcdcError; None where it has none.
        traceback: last lines of the traceback; empty for an AcdcError, whose parts are clearer.
    """

    spec: RunSpec
    kind: str
    problem: str
    attempts: int
    worker: str
    where: str | None = None
    field: str | None = None
    allowed: str | None = None
    fix: str | None = None
    traceback: tuple[str, ...] = ()

    @property
    def run_id(self) -> str:
        return self.spec.run_id()

    def error(self) -> AcdcError:
        """Return the cause as an error, of its own class if that is an AcdcError."""
        parts = {name: getattr(self, name) for name in _PARTS}
        for error_class in _with_subclasses(AcdcError):
            if error_class.__name__ == self.kind:
                return error_class(self.problem, **parts)
        return ExecutionFailed(f"{self.kind}: {self.problem}", **parts)


class RemoteFailure(Exception):
    """An unexpected error that another process raised, with the end of its traceback there.

    Args:
        kind: class name of the error.
        lines: as `RunFailure.traceback`.
    """

    def __init__(self, kind: str, problem: str, lines: tuple[str, ...]) -> None:
        super().__init__(kind, problem, lines)
        self.kind, self.problem, self.lines = kind, problem, lines

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Return `error` in the form in which it can leave its process."""
        problem = _shortened(str(error).strip() or repr(error))
        return cls(type(error).__name__, problem, _traceback_lines(error))

    def __str__(self) -> str:
        return "\n".join((f"{self.kind}: {self.problem}, in a worker process:", *self.lines))


def failure_of(run: RunSpec, error: Exception, *, worker: str, attempts: int = 1) -> RunFailure:
    """Return the failure of a run that raised `error`, without paths of this machine.

    An AcdcError keeps its parts. Any other error is a bug, here or in a library: it keeps its
    class, its message and the end of its traceback.
    """
    if isinstance(error, AcdcError):
        kind, cause = type(error).__name__, (error.where, error.field, error.allowed, error.fix)
        return RunFailure(run, kind, error.problem, attempts, worker, *cause)
    remote = error if isinstance(error, RemoteFailure) else RemoteFailure.of(error)
    return RunFailure(
        run,
        remote.kind,
        remote.problem,
        attempts,
        worker,
        fix="report it with the traceback in FAILED.json",
        traceback=remote.lines,
    )


def encode_failure(failure: RunFailure) -> bytes:
    """Return the bytes of `FAILED.json`, always the same for the same failure."""
    return json_bytes(
        {
            "schema_version": SCHEMA_VERSION,
            "run_id": failure.run_id,
            "code_version": acdc_pipeline.__version__,
            "spec": failure.spec.plain(),
            "cause": {
                "kind": failure.kind,
                "problem": failure.problem,
                **{name: getattr(failure, name) for name in _PARTS},
            },
            "attempts": failure.attempts,
            "worker": failure.worker,
            "traceback": list(failure.traceback),
        }
    )


def decode_failure(run_id: str, data: bytes) -> RunFailure:
    """Return the failure that `encode_failure` wrote for `run_id`.

    Raises:
        DamagedRun: it is not a failure, or is that of another run.
    """
    try:
        document: dict[str, Any] = read_json(data)
        cause = document["cause"]
        failure = RunFailure(
            spec=RunSpec.from_plain(document["spec"]),
            kind=_text(cause["kind"]),
            problem=_text(cause["problem"]),
            attempts=int(document["attempts"]),
            worker=_text(document["worker"]),
            traceback=tuple(_text(line) for line in document["traceback"]),
            **{name: None if cause[name] is None else _text(cause[name]) for name in _PARTS},
        )
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise _damaged(run_id, f"cannot be read ({error.__class__.__name__})") from error
    if failure.run_id != run_id:
        raise _damaged(run_id, f"is of run {failure.run_id}")
    return failure


def _traceback_lines(error: BaseException) -> tuple[str, ...]:
    """Return the end of the traceback, innermost last: `execution/worker.py:91 in execute: …`."""
    frames = traceback.extract_tb(error.__traceback__)[-(TRACEBACK_LINES - 1) :]
    message = "".join(traceback.format_exception_only(error)).strip()
    lines = (f"{_short_path(f.filename)}:{f.lineno} in {f.name}: {f.line or ''}" for f in frames)
    return (*lines, _shortened(message))


def _short_path(filename: str) -> str:
    """Return the path inside this package, or folder and name of a file outside."""
    path, package = Path(filename), Path(acdc_pipeline.__file__).parent
    if path.is_relative_to(package):
        return str(path.relative_to(package))
    return "/".join(path.parts[-2:])


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _with_subclasses(error_class: type[AcdcError]) -> Iterator[type[AcdcError]]:
    yield error_class
    for subclass in error_class.__subclasses__():
        yield from _with_subclasses(subclass)
