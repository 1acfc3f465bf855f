"""CPR and CMD of every search in a store, all measured by one metric on the same prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from acdc_pipeline.errors import AcdcError
from acdc_pipeline.evaluation import (
    circuit_model_distance,
    circuit_performance_ratio,
    scale_of,
)
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import RunSpec, circuit_method, find_task
from acdc_pipeline.specs.names import MetricName
from acdc_pipeline.store import RunSummary, Store
from acdc_pipeline.workflows.curves import curve_of, family_of
from acdc_pipeline.workflows.evaluate import require_same_task


@dataclass(frozen=True)
class Compared:
    """One search and its areas.

    Args:
        run: a run of it; where there are several sizes, the one of the most edges.
        circuits: how many sizes there were to make a curve of.
        metric: what faithfulness was measured in.
        cpr: area under the faithfulness curve; higher is better. None where it failed.
        cmd: area between the curve and 1; lower is better.
        problem: why there are no areas.
    """

    run: RunSpec
    circuits: int
    metric: MetricName
    cpr: float | None
    cmd: float | None
    problem: str | None


def compare(
    store: Store,
    summaries: Iterable[RunSummary],
    worker: Worker,
    metric: MetricName | None,
    told: Callable[[RunSpec], None],
) -> list[Compared]:
    """The areas of every search among `summaries`, runs of one model together.

    Args:
        store: where the circuits are.
        summaries: the runs; those that found no circuit are passed over.
        worker: loads the models.
        metric: what faithfulness is measured in; None takes each task's discovery metric, the
            same for every method, whatever metric its own search used.
        told: called before each search is measured.
    """
    families: dict[str, list[RunSummary]] = defaultdict(list)
    for summary in summaries:
        if summary.edges_kept is not None:
            families[family_of(summary.spec)].append(summary)
    order = sorted(
        families.values(),
        key=lambda f: (f[0].spec.model, f[0].spec.task, f[0].spec.method.name),
    )
    out = []
    for family in order:
        family.sort(key=lambda summary: summary.edges_kept or 0)
        told(family[-1].spec)
        out.append(_compared(store, family, worker, metric))
    return out


def _compared(
    store: Store, family: list[RunSummary], worker: Worker, metric: MetricName | None
) -> Compared:
    run = family[-1].spec
    try:
        task = find_task(run.task)
        require_same_task(run, task)
        by = metric or task.metrics.discovery
        circuits = [found for s in family if (found := store.get(s.run_id).circuit) is not None]
        bench = worker.bench(run, task)
        rank = circuit_method(run.method).ranking
        points = curve_of(bench, scale_of(bench, by), circuits[-1], circuits, rank)
    except AcdcError as error:
        # One model that is gone must not keep the others from being compared; the table says why.
        return Compared(run, len(family), metric or "kl", None, None, str(error.problem))
    return Compared(
        run=run,
        circuits=len(circuits),
        metric=by,
        cpr=circuit_performance_ratio(points),
        cmd=circuit_model_distance(points),
        problem=None,
    )
