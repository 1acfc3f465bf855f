"""Faithfulness curves: which runs form one, and the areas CPR and CMD of every search."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from acdc_pipeline.engine import Bench
from acdc_pipeline.errors import AcdcError
from acdc_pipeline.evaluation import (
    CurvePoint,
    Scale,
    circuit_model_distance,
    circuit_performance_ratio,
    circuits_at_fractions,
    circuits_from_scores,
    measure_curve,
    measure_scale,
)
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.cut import Rank
from acdc_pipeline.specs import RunSpec, circuit_method
from acdc_pipeline.specs.names import MetricName
from acdc_pipeline.specs.run_task import task_of_run
from acdc_pipeline.store import RunSummary, Store
from acdc_pipeline.workflows.kept_evaluation import search_key


@dataclass(frozen=True)
class SearchAreas:
    """The areas of one search.

    Args:
        run: its run with the most edges.
        cpr: area under the faithfulness curve; higher is better. None if it failed.
        cmd: area between the curve and 1; lower is better.
        problem: why there are no areas.
    """

    run: RunSpec
    circuits: int
    metric: MetricName
    cpr: float | None
    cmd: float | None
    problem: str | None


def compare_searches(
    store: Store,
    summaries: Iterable[RunSummary],
    worker: Worker,
    metric: MetricName | None,
    on_search: Callable[[RunSpec], None] = lambda run: None,
) -> list[SearchAreas]:
    """Return CPR and CMD of every search among `summaries`, grouped by model.

    Args:
        metric: metric of faithfulness; None for each task's discovery metric, which is the same
            for every method, whatever metric its search used.
    """
    searches: dict[str, list[RunSummary]] = defaultdict(list)
    for summary in summaries:
        if summary.edges_kept is not None:
            searches[search_key(summary.spec)].append(summary)
    found = []
    for runs in sorted(searches.values(), key=lambda runs: _order(runs[0].spec)):
        runs.sort(key=lambda summary: summary.edges_kept or 0)
        on_search(runs[-1].spec)
        found.append(_areas(store, runs, worker, metric))
    return found


def curve_of(
    bench: Bench,
    scale: Scale,
    circuit: Circuit,
    family: Sequence[Circuit],
    rank: Rank,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[CurvePoint, ...]:
    """Return the faithfulness curve of a circuit, or () if no smaller circuits are known.

    They are cut by the scores of the circuit, or taken from `family`, its search at other sizes.
    """
    topology = circuit.topology
    if circuit.scores.keys() == topology.edge_set:
        return measure_curve(
            bench, scale, circuits_from_scores(topology, circuit.scores, rank), advance
        )
    if not family:
        return ()
    return measure_curve(bench, scale, circuits_at_fractions(topology, [circuit, *family]), advance)


def _order(run: RunSpec) -> tuple[str, str, str]:
    return run.model, run.task, run.method.name


def _areas(
    store: Store, runs: list[RunSummary], worker: Worker, metric: MetricName | None
) -> SearchAreas:
    run = runs[-1].spec
    try:
        task = task_of_run(run)
        by = metric or task.metrics.discovery
        circuits = [found for s in runs if (found := store.get(s.run_id).circuit) is not None]
        bench = worker.bench(run, task)
        rank = circuit_method(run.method).ranking
        points = curve_of(bench, measure_scale(bench, by), circuits[-1], circuits, rank)
    except AcdcError as error:
        # A missing model must not keep the others from being compared; the table names the reason.
        return SearchAreas(run, len(runs), metric or "kl", None, None, str(error.problem))
    cpr, cmd = circuit_performance_ratio(points), circuit_model_distance(points)
    return SearchAreas(run, len(circuits), by, cpr, cmd, None)
