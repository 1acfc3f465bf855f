"""A sweep, as commands show it when it is over: a table of its cells, and what failed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import note
from acdc_pipeline.cli.terminal.tables import Column
from acdc_pipeline.cli.terminal.words import counted, kept_text, number
from acdc_pipeline.errors import AcdcError

if TYPE_CHECKING:
    from acdc_pipeline.execution.executor import Outcome
    from acdc_pipeline.execution.planned import PlannedRun
    from acdc_pipeline.store import RunSummary
    from acdc_pipeline.workflows.sweep import Refusal
    from acdc_pipeline.workflows.work import SweepWork

Cell = tuple[str, str]
"""A model and a task."""

MOST_PLACES = 4
"""So many cells are named beside a cause that they share."""

COLUMNS = (
    Column("model", "name"),
    Column("task", "name"),
    Column("new", "number"),
    Column("cached", "number", rank=2),
    Column("failed", "number"),
    Column("edges kept"),
    Column("KL", rank=1),
    Column("seconds", "number", rank=3),
)


def rows_of(
    work: SweepWork, outcomes: Sequence[Outcome], summaries: Iterable[RunSummary]
) -> list[dict[str, str]]:
    """One row of `COLUMNS` for each task in each model, in the sweep's order.

    Args:
        work: what was planned.
        outcomes: what came of it.
        summaries: the runs of the sweep that are in the store now.
    """
    counts: dict[Cell, Counter[str]] = {cell_of(run): Counter() for run in work.plan.runs}
    for refusal in work.plan.refused:
        counts.setdefault(_refused(refusal), Counter())["failed"] += 1
    states = {outcome.planned.run_id: outcome.state for outcome in outcomes}
    seconds: dict[Cell, float] = defaultdict(float)
    for outcome in outcomes:
        seconds[cell_of(outcome.planned)] += outcome.seconds
    for run in work.plan.runs:
        counts[cell_of(run)][_word(states.get(run.run_id), work.standing(run))] += 1
    found: dict[Cell, list[RunSummary]] = {}
    for summary in summaries:
        found.setdefault((summary.spec.model, summary.spec.task), []).append(summary)
    return [
        {
            "model": model,
            "task": task,
            **{word: str(count[word] or "–") for word in ("new", "cached", "failed")},
            **_ranges(found.get((model, task), [])),
            "seconds": f"{seconds[model, task]:.1f}",
        }
        for (model, task), count in counts.items()
    ]


def cell_of(planned: PlannedRun) -> Cell:
    """Which row of a table a run counts in."""
    return planned.run.model, planned.run.task


def _refused(refusal: Refusal) -> Cell:
    return str(refusal.cell.model), refusal.cell.task.name


def _word(state: str | None, standing: str) -> str:
    if state is None:
        return {"cached": "cached", "failed before": "failed"}.get(standing, "left")
    return {"committed": "new", "present": "cached"}.get(state, "failed")


def _ranges(found: Sequence[RunSummary]) -> dict[str, str]:
    kept = [s.edges_kept for s in found if s.edges_kept is not None]
    total = max((s.edges_total or 0 for s in found), default=0)
    divergences = [s.metrics["kl"] for s in found if "kl" in s.metrics]
    return {
        "edges kept": _range([str(k) for k in sorted(kept)], kept_text(0, total)[1:]),
        "KL": _range([number(k) for k in sorted(divergences)], ""),
    }


def _range(values: Sequence[str], unit: str) -> str:
    if not values:
        return "–"
    first, last = values[0], values[-1]
    return (first if first == last else f"{first}–{last}") + unit


def say_failures(work: SweepWork, outcomes: Sequence[Outcome], hint: str) -> None:
    """Names every cause once on stderr, with the runs it stopped; damaged causes too.

    Args:
        work: what was planned; its refusals failed, and what failed before and was not tried now.
        outcomes: what came of it.
        hint: how to try again what failed before.
    """
    now = [(o.planned, o.error) for o in outcomes if o.error is not None]
    for problem in work.damaged:
        note(f"acdc: warning: {problem}".replace("\n", "\n      "))
    _say_grouped("failed", ((cell_of(planned), error) for planned, error in now))
    _say_grouped("cannot be planned", ((_refused(r), r.error) for r in work.plan.refused))
    tried = {planned.run_id for planned, _ in now}
    before = [
        (cell_of(run), work.failures[run.run_id].error())
        for run in work.that_are("failed before")
        if run.run_id not in tried and run.run_id not in {o.planned.run_id for o in outcomes}
    ]
    _say_grouped(f"left out, failed before ({hint})", before)


def _say_grouped(what: str, causes: Iterable[tuple[Cell, AcdcError]]) -> None:
    """Each cause once, and behind it where it struck."""
    grouped: dict[str, Counter[Cell]] = {}
    for cell, error in causes:
        grouped.setdefault(str(error), Counter())[cell] += 1
    for text, cells in grouped.items():
        places = [f"{task} in {model}" for model, task in cells]
        more = f" and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
        note(f"\n{counted(cells.total(), 'run')} {what}: {', '.join(places[:MOST_PLACES])}{more}")
        for line in text.splitlines():
            note(f"  {line}", indent="  ")


def sweep_document(
    work: SweepWork, outcomes: Sequence[Outcome], store: str, paths: dict[str, str]
) -> dict[str, Any]:
    """A sweep that is over, as JSON data."""
    ended = {outcome.planned.run_id: outcome for outcome in outcomes}
    runs = [_run_document(work, run, ended.get(run.run_id), paths) for run in work.plan.runs]
    states = Counter(run["state"] for run in runs)
    return {
        "sweep": work.plan.name,
        "store": store,
        "counts": {
            **{state: states[state] for state in ("committed", "present", "failed", "skipped")},
            "refused": len(work.plan.refused),
        },
        "runs": runs,
        "refused": [refusal_document(refusal) for refusal in work.plan.refused],
    }


def refusal_document(refusal: Refusal) -> dict[str, Any]:
    """A cell that is no run, as JSON data."""
    cell = refusal.cell
    return {
        "task": cell.task.name,
        "model": str(cell.model),
        "method": cell.method.plain(),
        "prompts": cell.prompts,
        "seed": cell.seed,
        "error": error_document(refusal.error),
    }


def error_document(error: AcdcError) -> dict[str, Any]:
    """An error as JSON data."""
    return {"kind": type(error).__name__, "problem": error.problem, **error.parts()}


def _run_document(
    work: SweepWork, run: PlannedRun, outcome: Outcome | None, paths: dict[str, str]
) -> dict[str, Any]:
    """One run: `state` is committed, present, failed, or skipped, which failed before."""
    document = {"run_id": run.run_id, **run.run.plain()}
    if outcome is not None:
        return document | {
            "state": outcome.state,
            "seconds": outcome.seconds,
            "attempts": outcome.attempts,
            "worker": outcome.worker,
            "edges_kept": outcome.edges_kept,
            "error": None if outcome.error is None else error_document(outcome.error),
            "path": paths.get(run.run_id),
        }
    failure = work.failures.get(run.run_id)
    return document | {
        "state": "present" if failure is None else "skipped",
        "seconds": 0.0,
        "attempts": 0,
        "worker": None,
        "edges_kept": None,
        "error": None if failure is None else error_document(failure.error()),
        "path": paths.get(run.run_id),
    }
