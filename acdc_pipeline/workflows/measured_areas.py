"""Measure the areas CMD and CPR of a search that nobody evaluated."""

from __future__ import annotations

from dataclasses import replace

from acdc_pipeline.errors import AcdcError, StoreError
from acdc_pipeline.evaluation import Scale, circuit_logits, require_answers
from acdc_pipeline.evaluation.intervals import PromptScale
from acdc_pipeline.evaluation.measure import score
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import circuit_method
from acdc_pipeline.specs.run_task import task_of_run
from acdc_pipeline.store import Store
from acdc_pipeline.workflows.curves import Areas, areas_of
from acdc_pipeline.workflows.evaluation import Evaluation
from acdc_pipeline.workflows.evaluation_plan import evaluation_plan
from acdc_pipeline.workflows.search_areas import AREAS, SearchAreas, circuits_of_runs
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
        search = replace(search, pairs=circuits[-1].n_pairs)
        plan = evaluation_plan("basic", null=0, ablations=())
        if metric == method.metric:
            answer = evaluate_into(store, lambda: worker, run, task, circuits[-1], plan)
            return _known(search, answer.evaluation), answer.unkept
        bench = worker.bench(run, task)
        require_answers(bench, metric)
        whole, nothing = (
            score(bench, logits, [metric]) for logits in (bench.logits, circuit_logits(bench, ()))
        )
        scale = Scale(metric, whole.mean[metric], nothing.mean[metric])
        ends = PromptScale(whole.by_prompt[metric], nothing.by_prompt[metric], plan.seed)
        found = areas_of(bench, scale, ends, circuits[-1], circuits, method.selection)
    except AcdcError as error:
        # A missing model must not keep the others from being compared; the table names the reason.
        return search.failed(error), None
    assert found is not None  # the circuits of a search
    return _known(search, found), None


def _known(search: SearchAreas, found: Areas | Evaluation) -> SearchAreas:
    areas = {name: getattr(found, name) for name in AREAS}
    return replace(search, **areas, state="known", reason=None)
