"""Measure a circuit in every way that `acdc evaluate` offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.errors import InvalidInput, PromptError
from acdc_pipeline.evaluation import (
    FRACTIONS,
    Known,
    Scale,
    causal_scrubbing,
    circuit_logits,
    circuit_model_distance,
    circuit_performance_ratio,
    completeness,
    count_search_forwards,
    measure,
    measure_circuits,
    measure_scale,
    measure_value,
    minimality,
    parts_by_node,
    pessimistic_auc,
    random_masks,
    require_answers,
    roc_of_circuits,
    roc_of_scores,
    worst_knockouts,
)
from acdc_pipeline.evaluation.neuron_masks import check_masks
from acdc_pipeline.evaluation.null_size import cheap_null
from acdc_pipeline.execution.own_metric import require_function
from acdc_pipeline.execution.progress import PartProgress, SilentParts
from acdc_pipeline.execution.report import reference_for
from acdc_pipeline.execution.shards.circuit_jobs import RunJobs, scrub, scrubbing_bench
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.files.circuit_file import CircuitFile
from acdc_pipeline.graph.neurons import NeuronMasks
from acdc_pipeline.specs import PairsGenerator, RunSpec, TaskSpec, circuit_method
from acdc_pipeline.specs.names import COUNTING_METRICS, MetricKey
from acdc_pipeline.store.figures import is_only_of_its_size
from acdc_pipeline.workflows.circuit_run import require_graph, require_spans
from acdc_pipeline.workflows.curves import curve_of
from acdc_pipeline.workflows.evaluation import Evaluation, Measured
from acdc_pipeline.workflows.evaluation_plan import NULL, OF_SEARCHES, PARTS, EvaluationPlan, Part
from acdc_pipeline.workflows.stability import (
    count_searches,
    search_resample,
    stability,
    transfer,
    transfer_job,
)

Advance = Callable[[float], None]
"""Called with the finished share of a part, 0 to 1."""

Waiting = Mapping[Part, Sequence[Future[Any]]]


@dataclass(frozen=True)
class Subject:
    """A circuit ready to be measured.

    Args:
        scale: the metric of the run, with its values for the whole and the ablated model.
        known: values of circuits in that metric, so that no part measures one again.
        waiting: results that other workers compute, by part.
    """

    worker: Worker
    run: RunSpec
    task: TaskSpec
    circuit: Circuit
    family: Sequence[Circuit]
    plan: EvaluationPlan
    bench: Bench
    scale: Scale
    metrics: Mapping[MetricKey, Measured]
    known: Known = field(default_factory=dict)
    waiting: Waiting = field(default_factory=dict)

    @property
    def measured(self) -> tuple[Bench, Scale, Circuit]:
        """Model, metric and circuit, as the measures of a circuit take them."""
        return self.bench, self.scale, self.circuit


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
    without = {*(() if family else OF_SEARCHES), *(NULL if _is_trivial(circuit) else ())}
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
        bench = replace(bench, measure_elsewhere=jobs.measure_circuits)
    if neurons is not None:
        check_masks(bench, neurons, run.model)
    searched_by = circuit_method(run.method).metric
    require_answers(bench, searched_by)
    names: list[MetricKey] = list(
        dict.fromkeys(
            [searched_by, "kl", task.metrics.own, *task.metrics.report, *COUNTING_METRICS]
        )
    )
    whole, ablated = measure(bench, bench.logits, names), measure(bench, nothing, names)
    # The faithfulness of no edges is 0 by definition: rounding makes no difference.
    ours = ablated
    if circuit.edges:
        ours = measure(bench, circuit_logits(bench, circuit.edges, neurons), names)
    scale = Scale(searched_by, whole[searched_by], ablated[searched_by])
    metrics: dict[MetricKey, Measured] = {}
    for name in (name for name in names if name in ours):
        value, faithfulness = ours[name], None
        if name not in COUNTING_METRICS and whole[name] != ablated[name]:
            faithfulness = Scale(name, whole[name], ablated[name]).faithfulness(value)
        metrics[name] = Measured(value, whole[name], ablated[name], faithfulness)
    return Subject(worker, run, task, circuit, family, plan, bench, scale, metrics)


def _is_trivial(circuit: Circuit) -> bool:
    return is_only_of_its_size(len(circuit), circuit.topology.n_edges)


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


def _counted(advance: Advance, total: int) -> Callable[[int], None]:
    """Turn counts of forward passes into the share of `total`."""
    done = 0

    def add(n: int) -> None:
        nonlocal done
        done += n
        advance(min(1.0, done / max(1, total)))

    return add


def _curve(subject: Subject, advance: Advance) -> dict[str, Any]:
    circuit, family = subject.circuit, subject.family
    if not circuit.is_scored and all(map(_is_trivial, (circuit, *family))):
        return {}  # its points would be no edges and all edges, as of every search
    rank = circuit_method(subject.run.method).ranking
    counted = _counted(advance, len(FRACTIONS))
    points = curve_of(subject.bench, subject.scale, circuit, family, rank, counted)
    if not points:
        return {}
    return {
        "curve": points,
        "cpr": circuit_performance_ratio(points),
        "cmd": circuit_model_distance(points),
    }


def _null(subject: Subject, advance: Advance) -> dict[str, Any]:
    """Measure random circuits in every metric with a faithfulness, in one forward pass each."""
    bench, plan, circuit = subject.bench, subject.plan, subject.circuit
    count = cheap_null(bench) if plan.null is None else plan.null
    scales: dict[MetricKey, Scale] = {
        name: Scale(name, found.model, found.ablated)
        for name, found in subject.metrics.items()
        if found.faithfulness is not None
    }
    drawn: dict[MetricKey, list[float]] = {name: [] for name in scales}
    others = random_masks(circuit.topology, edges=len(circuit), n=count, seed=plan.seed)
    for values in measure_circuits(bench, others, list(scales), _counted(advance, count)):
        for name, scale in scales.items():
            drawn[name].append(scale.faithfulness(values[name]))
    return {"nulls": {name: tuple(values) for name, values in drawn.items()}}


def _completeness(subject: Subject, advance: Advance) -> dict[str, Any]:
    plan, parts = subject.plan, parts_by_node(subject.circuit)
    counted = _counted(advance, 2 * (1 + len(parts) + plan.draws))
    found = completeness(
        *subject.measured,
        parts,
        draws=plan.draws,
        seed=plan.seed,
        advance=counted,
        known=subject.known,
    )
    return {"knockouts": found}


def _worst_knockouts(subject: Subject, advance: Advance) -> dict[str, Any]:
    plan, parts = subject.plan, parts_by_node(subject.circuit)
    counted = _counted(advance, plan.restarts * count_search_forwards(len(parts)))
    found = worst_knockouts(
        *subject.measured,
        parts,
        restarts=plan.restarts,
        seed=plan.seed,
        advance=counted,
        known=subject.known,
    )
    return {"worst": found}


def _minimality(subject: Subject, advance: Advance) -> dict[str, Any]:
    plan, parts = subject.plan, parts_by_node(subject.circuit)
    counted = _counted(advance, 2 * len(parts) * (1 + plan.draws))
    found = minimality(
        *subject.measured,
        parts,
        draws=plan.draws,
        seed=plan.seed,
        advance=counted,
        known=subject.known,
    )
    return {"needs": found}


def _causal_scrubbing(subject: Subject, advance: Advance) -> dict[str, Any]:
    worker, run, plan = subject.worker, subject.run, subject.plan
    try:
        bench = scrubbing_bench(worker, run, subject.task)
    except PromptError as error:
        return {"unscrubbed": error.problem}
    scored, circuit = None, subject.circuit.within(bench.weights.topology)
    if (jobs := worker.jobs(run, subject.task)) is not None:
        packed = np.packbits(circuit.topology.edge_mask(circuit.edges)).tobytes()
        draws = [jobs.submit(scrub, packed, draw, plan.seed) for draw in range(plan.draws)]
        scored = (draw.result() for draw in draws)
    found = causal_scrubbing(
        bench,
        circuit_method(run.method).metric,
        circuit,
        draws=plan.draws,
        seed=plan.seed,
        advance=_counted(advance, 2 * plan.draws),
        scored=scored,
    )
    return {"scrubbing": found}


def _fresh_prompts(subject: Subject, _: Advance) -> dict[str, Any]:
    worker, run, task = subject.worker, subject.run, subject.task
    if isinstance(task.generator, PairsGenerator):
        return {}
    method = circuit_method(run.method)
    prompts = worker.prompts(run, task, seed=run.seed + 1, alike=1)
    weights, metric, memory = subject.bench.weights, subject.bench.own_metric, worker.held_outputs
    fresh = set_up(weights, prompts, method.ablation, metric, memory)
    try:
        scale = measure_scale(fresh, method.metric)
    except InvalidInput:
        return {}
    circuit = subject.circuit.within(fresh.weights.topology)
    value = measure_value(fresh, method.metric, circuit.edges)
    return {"fresh": scale.faithfulness(value)}


def _stability(subject: Subject, advance: Advance) -> dict[str, Any]:
    plan, waiting = subject.plan, subject.waiting.get("stability")
    measured = subject.worker, subject.run, subject.bench
    return {"stability": stability(*measured, plan.resamples, plan.seed, advance, waiting)}


def _transfer(subject: Subject, _: Advance) -> dict[str, Any]:
    if (waiting := subject.waiting.get("transfer")) is not None:
        return {"transfer": waiting[0].result()}
    return {"transfer": transfer(subject.worker, subject.run, subject.bench)}


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


MEASURES: Mapping[Part, Callable[[Subject, Advance], dict[str, Any]]] = {
    "curve": _curve,
    "null": _null,
    "completeness": _completeness,
    "worst knockouts": _worst_knockouts,
    "minimality": _minimality,
    "causal scrubbing": _causal_scrubbing,
    "fresh prompts": _fresh_prompts,
    "stability": _stability,
    "transfer": _transfer,
}
"""The function that measures each part and returns fields of an `Evaluation`."""
