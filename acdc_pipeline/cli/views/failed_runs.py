"""`acdc runs list --failed`: why runs of sweeps failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import note, print_json
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.words import counted, relative
from acdc_pipeline.cli.views.run_names import method_name
from acdc_pipeline.cli.views.sweep import error_document

if TYPE_CHECKING:
    from acdc_pipeline.specs import RunSpec
    from acdc_pipeline.store import RunFailure, Store

COLUMNS = (
    Column("run"),
    Column("task", "name"),
    Column("model", "name"),
    Column("method", rank=1),
    Column("seed", "number", rank=2),
    Column("tries", "number", rank=2),
    Column("problem", "prose"),
)


def print_failed(results: Store, fits: Callable[[RunSpec], bool]) -> None:
    """A table of the failed runs that fit; causes that cannot be read are named on stderr."""
    failures = results.failures()
    shown = _ordered(failure for failure in failures if fits(failure.spec))
    if shown:
        print_table(COLUMNS, [_row(failure) for failure in shown])
        note("\nacdc run SWEEP --retry-failed tries them again")
    elif failures:
        note(f"none of {counted(len(failures), 'failed run')} in {relative(results.url)} fits")
    else:
        note(f"no failed run in {relative(results.url)}")
    for damage in results.damaged_failures():
        note(f"acdc: warning: {damage}".replace("\n", "\n      "))


def print_failed_json(results: Store, fits: Callable[[RunSpec], bool]) -> None:
    """The same as one JSON document."""
    shown = _ordered(failure for failure in results.failures() if fits(failure.spec))
    damaged = results.damaged_failures()
    print_json(
        {
            "store": results.url,
            "failed": [failure_document(failure) for failure in shown],
            "damaged": [error_document(damage) for damage in damaged],
        }
    )


def failure_document(failure: RunFailure) -> dict[str, Any]:
    """A failed run as JSON data."""
    return {
        "run_id": failure.run_id,
        **failure.spec.plain(),
        "error": {"kind": failure.kind, "problem": failure.problem, **failure.error().parts()},
        "attempts": failure.attempts,
        "worker": failure.worker,
        "traceback": list(failure.traceback),
    }


def _ordered(failures: Iterable[RunFailure]) -> list[RunFailure]:
    return sorted(failures, key=lambda f: (f.spec.task, f.spec.model, f.run_id))


def _row(failure: RunFailure) -> dict[str, str]:
    spec = failure.spec
    return {
        "run": failure.run_id[:8],
        "task": spec.task,
        "model": spec.model,
        "method": method_name(spec.method),
        "seed": str(spec.seed),
        "tries": str(failure.attempts),
        "problem": str(failure.error()).splitlines()[0],
    }
