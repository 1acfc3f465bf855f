"""The cause of a failed run, and its file `FAILED.json`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

import acdc_pipeline
from acdc_pipeline.errors import AcdcError, DamagedRun, ExecutionFailed
from acdc_pipeline.json_text import read_json
from acdc_pipeline.specs import SCHEMA_VERSION, RunSpec
from acdc_pipeline.store import layout
from acdc_pipeline.store.codec import json_bytes

_PARTS = ("where", "field", "allowed", "fix")


@dataclass(frozen=True)
class RunFailure:
    """A run that failed, and the cause.

    Args:
        spec: the run.
        kind: class name of the error, such as `PromptError` or `RuntimeError`.
        problem: message of the error.
        where, field, allowed, fix: the other parts of an AcdcError; None where it has none.
        attempts: number of attempts at the run.
        worker: name of the worker of the last attempt.
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
        """The id of the run in the store."""
        return self.spec.run_id()

    def error(self) -> AcdcError:
        """Return the cause as an error, of its own class if that is an AcdcError."""
        parts = {name: getattr(self, name) for name in _PARTS}
        for error_class in _with_subclasses(AcdcError):
            if error_class.__name__ == self.kind:
                return error_class(self.problem, **parts)
        return ExecutionFailed(f"{self.kind}: {self.problem}", **parts)


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


def _damaged(run_id: str, problem: str) -> DamagedRun:
    return DamagedRun(
        problem,
        where=f"run {run_id}",
        field=layout.FAILURE,
        fix="run it again: without a readable cause the run counts as not attempted",
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _with_subclasses(error_class: type[AcdcError]) -> Iterator[type[AcdcError]]:
    yield error_class
    for subclass in error_class.__subclasses__():
        yield from _with_subclasses(subclass)
