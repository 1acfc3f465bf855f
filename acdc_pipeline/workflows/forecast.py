"""What carrying out a plan would take, for each task in each model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum

from acdc_pipeline.specs import WorkerProfile
from acdc_pipeline.store import RunSummary
from acdc_pipeline.workflows.estimate import Estimate, estimate, past_runs
from acdc_pipeline.workflows.prompt_length import rough_tokens
from acdc_pipeline.workflows.work import SweepWork


@dataclass(frozen=True)
class CellForecast:
    """The runs of one task in one model.

    Args:
        model, task: names.
        cached, to_run, failed: runs in the store, to do, and failed before.
        refused: cells that are no run.
        edges: of the model's graph; None where the model is refused.
        edge_tests: of the runs to do, at most.
        seconds: of the runs to do, on one worker.
        measured: how many of them are estimated from runs of their kind.
        memory: bytes of the largest run to do, at most; None where there is none.
    """

    model: str
    task: str
    cached: int
    to_run: int
    failed: int
    refused: int
    edges: int | None
    edge_tests: int
    seconds: float
    measured: int
    memory: int | None


def forecast(
    work: SweepWork, summaries: Iterable[RunSummary], profile: WorkerProfile
) -> tuple[CellForecast, ...]:
    """One forecast for each task in each model, in the sweep's order.

    Args:
        work: the plan, held against the store.
        summaries: of the store's runs, those of other sweeps too.
        profile: on what a worker executes.
    """
    past = past_runs(summaries)
    standings: dict[tuple[str, str], Counter[str]] = {}
    estimates: dict[tuple[str, str], list[Estimate]] = {}
    tasks = {id(planned.task): planned.task for planned in work.plan.runs}
    tokens = {key: rough_tokens(task) for key, task in tasks.items()}
    for planned in work.plan.runs:
        cell = planned.run.model, planned.run.task
        standing = work.standing(planned)
        standings.setdefault(cell, Counter())[standing] += 1
        if standing == "to run":
            model = work.plan.models[planned.run.model]
            one = estimate(planned.run, tokens[id(planned.task)], model, past, profile)
            estimates.setdefault(cell, []).append(one)
    for refusal in work.plan.refused:
        cell = str(refusal.cell.model), refusal.cell.task.name
        standings.setdefault(cell, Counter())["refused"] += 1
    return tuple(
        _cell(work, model, task, counts, estimates.get((model, task), []))
        for (model, task), counts in standings.items()
    )


def _cell(
    work: SweepWork, model: str, task: str, counts: Counter[str], todo: list[Estimate]
) -> CellForecast:
    description = work.plan.models.get(model)
    return CellForecast(
        model=model,
        task=task,
        cached=counts["cached"],
        to_run=counts["to run"],
        failed=counts["failed before"],
        refused=counts["refused"],
        edges=None if description is None else description.n_edges,
        edge_tests=sum(one.edge_tests for one in todo),
        seconds=fsum(one.seconds for one in todo),
        measured=sum(one.basis == "store" for one in todo),
        memory=max((one.memory for one in todo), default=None),
    )
