"""Why a run failed: what `FAILED.json` says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

import acdc_pipeline
from acdc_pipeline.errors import AcdcError, DamagedRun, ExecutionFailed
from acdc_pipeline.json_text import read_json
from acdc_pipeline.specs import RunSpec
from acdc_pipeline.store import layout, schemas
from acdc_pipeline.store.encode import json_bytes

_PARTS = ("where", "field", "allowed", "fix")


@dataclass(frozen=True)
class RunFailure:
    """A run that did not come to an end, and the cause.

    Args:
        spec: what was tried.
        kind: class of the error, `PromptError` or `RuntimeError`.
        problem: what was wrong.
        where, field, allowed, fix: the other parts of an error of ours; None where it has none.
        attempts: how often the run was tried.
        worker: who tried it last.
        traceback: the last lines of where it happened; empty for errors of ours, whose parts say
            it better.
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
        """The run's name in the store."""
        return self.spec.run_id()

    def error(self) -> AcdcError:
        """The cause as an error: of the class it had if that is one of ours."""
        parts = {name: getattr(self, name) for name in _PARTS}
        ours = {kind.__name__: kind for kind in _family(AcdcError)}
        if self.kind in ours:
            return ours[self.kind](self.problem, **parts)
        return ExecutionFailed(f"{self.kind}: {self.problem}", **parts)


def encode_failure(failure: RunFailure) -> bytes:
    """The bytes of `FAILED.json`; the same failure always gives the same."""
    return json_bytes(
        {
            "schema_version": schemas.SCHEMA_VERSION,
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
    """The failure that `encode_failure` wrote for `run_id`.

    Raises:
        DamagedRun: it is not one, or another run's.
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
        raise damaged_failure(run_id, f"cannot be read ({error.__class__.__name__})") from error
    if failure.run_id != run_id:
        raise damaged_failure(run_id, f"is of run {failure.run_id}")
    return failure


def damaged_failure(run_id: str, problem: str) -> DamagedRun:
    """The error for a `FAILED.json` that says nothing."""
    return DamagedRun(
        problem,
        where=f"run {run_id}",
        field=layout.FAILURE,
        fix="run it again: without a readable cause the run counts as not tried",
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _family(kind: type[AcdcError]) -> Iterator[type[AcdcError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _family(below)
