"""A finished sweep: a table of its cells, its failures, its JSON document."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import print_note, print_warnings
from acdc_pipeline.cli.terminal.tables import Column
from acdc_pipeline.cli.views.run_list import error_document
from acdc_pipeline.errors import AcdcError
from acdc_pipeline.text import NONE, format_number, list_first, pluralize, without_rounding

if TYPE_CHECKING:
    from acdc_pipeline.execution.runs import Outcome, PlannedRun
    from acdc_pipeline.store import RunSummary
    from acdc_pipeline.workflows.sweep import Refusal, SweepStatus

Cell = tuple[str, str]
"""A model and a task."""

MAX_CELLS_NAMED = 4
"""Cells named beside an error that they share."""

UNSUPPORTED = "unsupported"
"""The column of runs in models that the engine does not reproduce; shown where there are any."""

COLUMNS = (
    Column("model", "name"),
    Column("task", "name"),
    Column("new", "number"),
    Column("cached", "number", rank=2),
    Column("failed", "number"),
    Column(UNSUPPORTED, "number"),
    Column("edges kept"),
    Column("KL", rank=1),
    Column("seconds", "number", rank=3),
)


def sweep_columns(status: SweepStatus) -> list[Column]:
    """Return the columns of a finished sweep."""
    return [c for c in COLUMNS if status.plan.unsupported or c.name != UNSUPPORTED]


def sweep_rows(
    status: SweepStatus, outcomes: Sequence[Outcome], summaries: Iterable[RunSummary]
) -> list[dict[str, str]]:
    """Return one row of `COLUMNS` per task and model; `summaries` are in the store now."""
    counts: dict[Cell, Counter[str]] = {cell_of(run): Counter() for run in status.plan.runs}
    for refusal in status.plan.refused:
        state = UNSUPPORTED if refusal.unsupported else "failed"
        counts.setdefault(_refused_cell(refusal), Counter())[state] += 1
    states = {outcome.planned.run_id: outcome.state for outcome in outcomes}
    seconds: dict[Cell, float] = defaultdict(float)
    for outcome in outcomes:
        seconds[cell_of(outcome.planned)] += outcome.seconds
    for run in status.plan.runs:
        counts[cell_of(run)][_column(states.get(run.run_id), status.state(run))] += 1
    found: dict[Cell, list[RunSummary]] = {}
    for summary in summaries:
        found.setdefault((summary.spec.model, summary.spec.task), []).append(summary)
    return [
        {
            "model": model,
            "task": task,
            **{name: str(count[name] or NONE) for name in ("new", "cached", "failed", UNSUPPORTED)},
            **_ranges(found.get((model, task), [])),
            "seconds": f"{seconds[model, task]:.1f}",
        }
        for (model, task), count in counts.items()
    ]


def cell_of(planned: PlannedRun) -> Cell:
    """Return the cell of a run: its model and task."""
    return planned.run.model, planned.run.task


def _refused_cell(refusal: Refusal) -> Cell:
    return str(refusal.cell.model), refusal.cell.task.name


def _column(state: str | None, stored_state: str) -> str:
    if state is None:
        return {"cached": "cached", "failed before": "failed"}.get(stored_state, "left")
    return {"committed": "new", "present": "cached"}.get(state, "failed")


def _ranges(found: Sequence[RunSummary]) -> dict[str, str]:
    kept = [s.edges_kept for s in found if s.edges_kept is not None]
    total = max((s.edges_total or 0 for s in found), default=0)
    divergences = [s.metrics["kl"] for s in found if "kl" in s.metrics]
    return {
        "edges kept": _range([str(k) for k in sorted(kept)], f" of {total}"),
        "KL": _range([format_number(without_rounding(k)) for k in sorted(divergences)], ""),
    }


def _range(values: Sequence[str], unit: str) -> str:
    if not values:
        return NONE
    first, last = values[0], values[-1]
    return (first if first == last else f"{first}–{last}") + unit


def print_failures(status: SweepStatus, outcomes: Sequence[Outcome], hint: str) -> None:
    """Print every error once on stderr, with the cells it stopped; unreadable failures too.

    For runs that failed before, `hint` says how to retry them.
    """
    print_warnings(status.damaged)
    _print_grouped("failed", ((cell_of(o.planned), o.error) for o in outcomes if o.error))
    for what, refused in (
        ("cannot be planned", [r for r in status.plan.refused if not r.unsupported]),
        ("unsupported", status.plan.unsupported),
    ):
        _print_grouped(what, ((_refused_cell(r), r.error) for r in refused))
    executed = {outcome.planned.run_id for outcome in outcomes}
    before = [
        (cell_of(run), status.failures[run.run_id].error())
        for run in status.runs("failed before")
        if run.run_id not in executed
    ]
    _print_grouped(f"left out, failed before ({hint})", before)


def _print_grouped(what: str, errors: Iterable[tuple[Cell, AcdcError]]) -> None:
    grouped: dict[str, Counter[Cell]] = {}
    for cell, error in errors:
        grouped.setdefault(str(error), Counter())[cell] += 1
    for text, cells in grouped.items():
        names = list_first([f"{task} in {model}" for model, task in cells], MAX_CELLS_NAMED)
        print_note(f"\n{pluralize(cells.total(), 'run')} {what}: {names}")
        for line in text.splitlines():
            print_note(f"  {line}", indent="  ")


def sweep_document(
    status: SweepStatus, outcomes: Sequence[Outcome], store: str, paths: dict[str, str]
) -> dict[str, Any]:
    """Return a finished sweep as JSON data."""
    ended = {outcome.planned.run_id: outcome for outcome in outcomes}
    runs = [_run_document(status, run, ended.get(run.run_id), paths) for run in status.plan.runs]
    states = Counter(run["state"] for run in runs)
    return {
        "sweep": status.plan.name,
        "store": store,
        "counts": {
            **{state: states[state] for state in ("committed", "present", "failed", "skipped")},
            "refused": len(status.plan.refused),
            "unsupported": len(status.plan.unsupported),
        },
        "runs": runs,
        "refused": [refusal_document(refusal) for refusal in status.plan.refused],
    }


def refusal_document(refusal: Refusal) -> dict[str, Any]:
    """Return a cell that cannot be planned as JSON data."""
    cell = refusal.cell
    return {
        "task": cell.task.name,
        "model": str(cell.model),
        "method": cell.method.plain(),
        "prompts": cell.prompts,
        "seed": cell.seed,
        "error": error_document(refusal.error),
    }


def _run_document(
    status: SweepStatus, run: PlannedRun, outcome: Outcome | None, paths: dict[str, str]
) -> dict[str, Any]:
    """Return a run as JSON data; state `skipped` is a run that failed before."""
    if outcome is not None:
        state, error = outcome.state, outcome.error
    elif failure := status.failures.get(run.run_id):
        state, error = "skipped", failure.error()
    else:
        state, error = "present", None
    return {
        "run_id": run.run_id,
        **run.run.plain(),
        "state": state,
        "seconds": outcome.seconds if outcome else 0.0,
        "attempts": outcome.attempts if outcome else 0,
        "worker": outcome.worker if outcome else None,
        "edges_kept": outcome.edges_kept if outcome else None,
        "error": None if error is None else error_document(error),
        "path": paths.get(run.run_id),
    }
