"""Measure a circuit in every way that `acdc evaluate` offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import (
    Scale,
    circuit_logits,
    pessimistic_auc,
    require_answers,
    roc_of_circuits,
    roc_of_scores,
)
from acdc_pipeline.evaluation.measure import score
from acdc_pipeline.evaluation.neuron_masks import check_masks
from acdc_pipeline.execution.own_metric import require_function
from acdc_pipeline.execution.progress import PartProgress, SilentParts
from acdc_pipeline.execution.report import reference_for
from acdc_pipeline.execution.shards.circuit_jobs import RunJobs
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.files.circuit_file import CircuitFile
from acdc_pipeline.graph.neurons import NeuronMasks
from acdc_pipeline.specs import RunSpec, TaskSpec, circuit_method
from acdc_pipeline.specs.names import COUNTING_METRICS, MetricKey
from acdc_pipeline.workflows.circuit_run import require_graph, require_spans
from acdc_pipeline.workflows.evaluation import Evaluation
from acdc_pipeline.workflows.evaluation_parts import MEASURES, Subject, Waiting, is_trivial
from acdc_pipeline.workflows.evaluation_plan import NULL, OF_SEARCHES, PARTS, EvaluationPlan, Part
from acdc_pipeline.workflows.measured import measured_metrics
from acdc_pipeline.workflows.stability import count_searches, search_resample, transfer_job


def evaluate(
    worker: Worker,
    run: RunSpec,
    task: TaskSpec,
    circuit: Circuit,
    family: Sequence[Circuit],
    plan: EvaluationPlan,
    progress: PartProgress | None = None,
    known: Mapping[Part, Mapping[str, Any]] | None = None,
    keep: Callable[[Evaluation, Sequence[Part]], None] = lambda found, parts: None,
    neurons: NeuronMasks | None = None,
) -> Evaluation:
    """Measure `circuit` on the prompts of `run`, under its metric and ablation.

    Args:
        run: gives prompts, metric, ablation and, for stability and transfer, the search.
        circuit: the circuit; scores of every edge, if it has them, make its curve. It has no null
            if it keeps no edges or all, as the only circuit of its size.
        family: the circuits of the same search at other sizes, for the curve where there are no
            scores; there is none if each keeps no edges or all. Empty for a circuit of no search:
            it has no stability, no transfer, and a curve only if it has scores.
        known: fields of the parts that were measured before under the same plan.
        keep: called after each measured part with the evaluation and its parts so far.
        neurons: which dimensions of each node's output the edges of the circuit carry; on the
            others they carry the ablated output. None for all. With it only the circuit's own
            metrics can be measured.

    Raises:
        UnsupportedModel: `neurons` masks heads whose outputs are normalised together, or centres
            outputs where a norm is not a LayerNorm.
        InvalidInput: the metric of the run does not distinguish the model from the ablated one,
            or is a function that the worker does not have.
        PromptError, ParityError, ExecutionFailed: as `Worker.execute`.
    """
    require_function(run, worker.own_metric)
    listener, before = progress or SilentParts(), known or {}
    if neurons is not None and plan.parts:
        raise InvalidInput(f"{min(plan.parts)} cannot be measured of a circuit with neuron masks")
    without = {*(() if family else OF_SEARCHES), *(NULL if is_trivial(circuit) else ())}
    parts: list[Part] = [part for part in PARTS if part in plan.parts and part not in without]
    left: list[Part] = [part for part in parts if part not in before]
    total = 1 + len(left)
    listener.part("faithfulness", 1, total)
    subject = _subject(worker, run, task, circuit, family, plan, neurons)
    found = Evaluation(
        circuit=circuit,
        scale=subject.scale,
        task_metric=task.metrics.own,
        metrics=subject.metrics,
        auc=None if neurons is not None else _auc(run, task, circuit, family),
    )
    done: list[Part] = [part for part in parts if part in before]
    for part in done:
        found = replace(found, **before[part])
    if (jobs := worker.jobs(run, task)) is not None:
        subject = replace(subject, waiting=_start_searches(jobs, plan, left))
    try:
        for number, part in enumerate(left, 2):
            listener.part(part, number, total)
            found = replace(found, **MEASURES[part](subject, listener.share))
            done.append(part)
            keep(found, done)
    finally:
        if jobs is not None:
            jobs.pool.close()
    return found


def evaluate_given(
    worker: Worker,
    run: RunSpec,
    task: TaskSpec,
    given: CircuitFile,
    plan: EvaluationPlan,
    progress: PartProgress | None = None,
) -> Evaluation:
    """Measure the circuit of a file; with neuron masks its own metrics alone, see `evaluate`."""
    if not given.masked:
        return evaluate(worker, run, task, given.circuit, [], plan, progress)
    metrics_alone = replace(plan, parts=frozenset[Part]())
    return evaluate(
        worker, run, task, given.circuit, [], metrics_alone, progress, neurons=given.masks
    )


def _subject(
    worker: Worker,
    run: RunSpec,
    task: TaskSpec,
    circuit: Circuit,
    family: Sequence[Circuit],
    plan: EvaluationPlan,
    neurons: NeuronMasks | None,
) -> Subject:
    """Measure the circuit in the metric of the run, KL, the task's metrics and accuracies."""
    require_graph(circuit, worker.model(run).topology)
    bench, nothing = worker.bench(run, task), worker.empty_logits(run, task)
    require_spans(circuit, bench.weights.topology)
    if (jobs := worker.jobs(run, task)) is not None:
        bench = replace(bench, score_elsewhere=jobs.score_circuits)
    if neurons is not None:
        check_masks(bench, neurons, run.model)
    searched_by = circuit_method(run.method).metric
    require_answers(bench, searched_by)
    names: list[MetricKey] = list(
        dict.fromkeys(
            [searched_by, "kl", task.metrics.own, *task.metrics.report, *COUNTING_METRICS]
        )
    )
    whole, ablated = score(bench, bench.logits, names), score(bench, nothing, names)
    # The faithfulness of no edges is 0 by definition: rounding makes no difference.
    ours = ablated
    if circuit.edges:
        ours = score(bench, circuit_logits(bench, circuit.edges, neurons), names)
    scale = Scale(searched_by, whole.mean[searched_by], ablated.mean[searched_by])
    metrics = measured_metrics(ours, whole, ablated, names, plan.seed)
    return Subject(worker, run, task, circuit, family, plan, bench, scale, metrics)


def _auc(run: RunSpec, task: TaskSpec, circuit: Circuit, family: Sequence[Circuit]) -> float | None:
    reference = reference_for(run, task, circuit.topology)
    if reference is None or not reference.names_edges:
        return None
    if not reference.places_every_edge(circuit.topology):
        circuit, family = circuit.collapse(), [member.collapse() for member in family]
    truth = reference.circuit(circuit.topology)
    if circuit.is_scored:
        rank = circuit_method(run.method).ranking
        return pessimistic_auc(roc_of_scores(circuit.scores, truth.edges, rank))
    return pessimistic_auc(roc_of_circuits([circuit, *family], truth))


def _start_searches(jobs: RunJobs, plan: EvaluationPlan, parts: Sequence[Part]) -> Waiting:
    """Let workers that have nothing else to do search for the parts that need it."""
    waiting: dict[Part, list[Future[Any]]] = {}
    if "stability" in parts:
        waiting["stability"] = [
            jobs.submit_later(search_resample, plan.seed, number)
            for number in range(count_searches(plan.resamples))
        ]
    if "transfer" in parts:
        waiting["transfer"] = [jobs.submit_later(transfer_job)]
    return waiting
