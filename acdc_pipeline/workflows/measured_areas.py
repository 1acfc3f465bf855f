"""Measure the areas CPR and CMD of a search that nobody evaluated."""

from __future__ import annotations

from dataclasses import replace

from acdc_pipeline.errors import AcdcError, StoreError
from acdc_pipeline.evaluation import (
    circuit_model_distance,
    circuit_performance_ratio,
    measure_scale,
)
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import circuit_method
from acdc_pipeline.specs.run_task import task_of_run
from acdc_pipeline.store import Store
from acdc_pipeline.workflows.curves import curve_of
from acdc_pipeline.workflows.evaluation_plan import evaluation_plan
from acdc_pipeline.workflows.search_areas import SearchAreas, circuits_of_runs
from acdc_pipeline.workflows.stored_evaluation import evaluate_into


def measure_areas(
    store: Store, search: SearchAreas, worker: Worker
) -> tuple[SearchAreas, StoreError | None]:
    """Return a search whose areas are missing with its areas, or with the reason why it has none.

    In the metric of the search itself, its circuit and curve are kept in the store, as an
    evaluation with neither null nor other parts; in another metric nothing is kept.

    Returns:
        The search, and why its evaluation could not be stored; None if it was, or was not to be.
    """
    run, metric = search.run, search.metric
    assert metric is not None
    try:
        task, method = task_of_run(run), circuit_method(run.method)
        circuits = circuits_of_runs(store, search.runs)
        if metric == method.metric:
            plan = evaluation_plan("basic", null=0)
            answer = evaluate_into(store, lambda: worker, run, task, circuits[-1], plan)
            found = answer.evaluation
            return _known(search, found.cpr, found.cmd), answer.unkept
        bench = worker.bench(run, task)
        scale = measure_scale(bench, metric)
        points = curve_of(bench, scale, circuits[-1], circuits, method.ranking)
    except AcdcError as error:
        # A missing model must not keep the others from being compared; the table names the reason.
        return search.failed(error), None
    return _known(search, circuit_performance_ratio(points), circuit_model_distance(points)), None


def _known(search: SearchAreas, cpr: float | None, cmd: float | None) -> SearchAreas:
    return replace(search, cpr=cpr, cmd=cmd, state="known", reason=None)
