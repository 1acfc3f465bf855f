"""A circuit measured from every side: what `acdc evaluate` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.errors import InvalidInput, PromptError
from acdc_pipeline.evaluation import (
    FRACTIONS,
    Scale,
    causal_scrubbing,
    circuit_logprobs,
    circuit_model_distance,
    circuit_performance_ratio,
    completeness,
    knockouts_of_a_search,
    measure,
    measure_circuits,
    minimality,
    parts_by_node,
    pessimistic_auc,
    random_masks,
    roc_of_circuits,
    roc_of_scores,
    scale_of,
    value_of,
    with_partners,
    worst_knockouts,
)
from acdc_pipeline.evaluation.measure import require_answers
from acdc_pipeline.execution.progress import PartProgress, SilentParts
from acdc_pipeline.execution.reference import reference_for
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import PairsGenerator, RunSpec, TaskSpec, circuit_method
from acdc_pipeline.specs.names import COUNTED, MetricName
from acdc_pipeline.workflows.cheap_null import cheap_null
from acdc_pipeline.workflows.curves import curve_of
from acdc_pipeline.workflows.effort import PARTS, Effort, Part
from acdc_pipeline.workflows.evaluation import Evaluation, Measured
from acdc_pipeline.workflows.stability import stability, transfer

ALIKE = 4
"""How many prompts agree in their roles when circuits are scrubbed."""

Advance = Callable[[float], None]
"""Hears the share of a part that is done, 0 to 1."""


@dataclass(frozen=True)
class Subject:
    """What is measured, and against what.

    Args:
        worker, run, task, circuit, family, effort: as for `evaluate`.
        bench: the model at work on the prompts of the run.
        scale: the metric of the run and its ends.
        metrics: everything that the circuit itself was measured in.
    """

    worker: Worker
    run: RunSpec
    task: TaskSpec
    circuit: Circuit
    family: Sequence[Circuit]
    effort: Effort
    bench: Bench
    scale: Scale
    metrics: Mapping[MetricName, Measured]


def evaluate(
    worker: Worker,
    run: RunSpec,
    task: TaskSpec,
    circuit: Circuit,
    family: Sequence[Circuit],
    effort: Effort,
    progress: PartProgress | None = None,
    known: Mapping[Part, Mapping[str, Any]] | None = None,
    keep: Callable[[Evaluation, Sequence[Part]], None] = lambda found, parts: None,
) -> Evaluation:
    """`circuit` on the prompts of `run`, under its metric and ablation.

    Args:
        worker: loads the model; keeps it for the next call.
        run: what the circuit is an answer to.
        task: what its prompts are made by.
        circuit: what is measured; its scores, if it has one for every edge, make its curve.
        family: the circuits that the same search found at other thresholds, for the curve where
            there are no scores. Empty for a circuit that no search found: then nothing is said of
            curve, stability and transfer unless it has scores.
        effort: what is measured, and how much is drawn.
        progress: told what is being measured, and how far that is.
        known: parts that were measured before with the same effort: their fields.
        keep: called after each part that was measured, with all that is known by then and the
            parts that it consists of.

    Raises:
        InvalidInput: the metric of the run cannot tell the model from nothing.
        PromptError, ParityError, ExecutionFailed: as `Worker.execute`.
    """
    listener, parts, before = progress or SilentParts(), _parts(effort, family), known or {}
    left: list[Part] = [part for part in parts if part not in before]
    total = 1 + len(left)
    listener.part("faithfulness", 1, total)
    subject = _subject(worker, run, task, circuit, family, effort)
    found = Evaluation(
        circuit=circuit,
        scale=subject.scale,
        task_metric=task.metrics.own,
        metrics=subject.metrics,
        auc=_auc(run, task, circuit, family),
    )
    done: list[Part] = [part for part in parts if part in before]
    for part in done:
        found = replace(found, **before[part])
    for number, part in enumerate(left, 2):
        listener.part(part, number, total)
        found = replace(found, **MEASURES[part](subject, listener.share))
        done.append(part)
        keep(found, done)
    return found


def _parts(effort: Effort, family: Sequence[Circuit]) -> list[Part]:
    """The parts of `effort`, in order, without those of a search where there was none."""
    of_a_search = ("stability", "transfer")
    return [p for p in PARTS if p in effort.parts and (family or p not in of_a_search)]


def _subject(
    worker: Worker,
    run: RunSpec,
    task: TaskSpec,
    circuit: Circuit,
    family: Sequence[Circuit],
    effort: Effort,
) -> Subject:
    """The circuit itself, measured in the metric of the run, KL, the task's own and the counts."""
    bench, nothing = worker.bench(run, task), worker.nothing(run, task)
    searched_by = circuit_method(run.method).metric
    require_answers(bench, searched_by)
    names: list[MetricName] = list(
        dict.fromkeys([searched_by, "kl", task.metrics.own, *task.metrics.report, *COUNTED])
    )
    ours = measure(bench, circuit_logprobs(bench, circuit.edges), names)
    whole, ablated = measure(bench, bench.logprobs, names), measure(bench, nothing, names)
    scale = Scale(searched_by, whole[searched_by], ablated[searched_by])
    metrics: dict[MetricName, Measured] = {
        name: Measured(
            ours[name],
            whole[name],
            ablated[name],
            None
            if name in COUNTED or whole[name] == ablated[name]
            else Scale(name, whole[name], ablated[name]).faithfulness(ours[name]),
        )
        for name in names
        if name in ours
    }
    return Subject(worker, run, task, circuit, family, effort, bench, scale, metrics)


def _auc(run: RunSpec, task: TaskSpec, circuit: Circuit, family: Sequence[Circuit]) -> float | None:
    reference = reference_for(run, task, circuit.topology)
    if reference is None or not reference.names_edges:
        return None
    truth = reference.circuit(circuit.topology)
    if circuit.scores.keys() == circuit.topology.edge_set:
        rank = circuit_method(run.method).ranking
        return pessimistic_auc(roc_of_scores(circuit.scores, truth.edges, rank))
    return pessimistic_auc(roc_of_circuits([circuit, *family], truth))


def _counted(advance: Advance, total: int) -> Callable[[int], None]:
    """Forward passes done, as a share of at most `total`."""
    done = 0

    def add(n: int) -> None:
        nonlocal done
        done += n
        advance(min(1.0, done / max(1, total)))

    return add


def _curve(subject: Subject, advance: Advance) -> dict[str, Any]:
    rank = circuit_method(subject.run.method).ranking
    counted = _counted(advance, len(FRACTIONS))
    points = curve_of(subject.bench, subject.scale, subject.circuit, subject.family, rank, counted)
    if not points:
        return {}
    return {
        "curve": points,
        "cpr": circuit_performance_ratio(points),
        "cmd": circuit_model_distance(points),
    }


def _null(subject: Subject, advance: Advance) -> dict[str, Any]:
    """Random circuits in every metric that has a faithfulness: the forward pass is the same."""
    bench, effort, circuit = subject.bench, subject.effort, subject.circuit
    count = cheap_null(bench) if effort.null is None else effort.null
    scales: dict[MetricName, Scale] = {
        name: Scale(name, found.model, found.ablated)
        for name, found in subject.metrics.items()
        if found.faithfulness is not None
    }
    drawn: dict[MetricName, list[float]] = {name: [] for name in scales}
    size = max(1, len(circuit))
    others = random_masks(circuit.topology, edges=size, n=count, seed=effort.seed)
    for values in measure_circuits(bench, others, list(scales), _counted(advance, count)):
        for name, scale in scales.items():
            drawn[name].append(scale.faithfulness(values[name]))
    return {"nulls": {name: tuple(values) for name, values in drawn.items()}}


def _completeness(subject: Subject, advance: Advance) -> dict[str, Any]:
    bench, scale, circuit, effort = subject.bench, subject.scale, subject.circuit, subject.effort
    parts = parts_by_node(circuit)
    return {
        "knockouts": completeness(
            bench,
            scale,
            circuit,
            parts,
            draws=effort.draws,
            seed=effort.seed,
            advance=_counted(advance, 2 * (1 + len(parts) + effort.draws)),
        )
    }


def _worst_knockouts(subject: Subject, advance: Advance) -> dict[str, Any]:
    bench, scale, circuit, effort = subject.bench, subject.scale, subject.circuit, subject.effort
    parts = parts_by_node(circuit)
    return {
        "worst": worst_knockouts(
            bench,
            scale,
            circuit,
            parts,
            restarts=effort.restarts,
            seed=effort.seed,
            advance=_counted(advance, effort.restarts * knockouts_of_a_search(len(parts))),
        )
    }


def _minimality(subject: Subject, advance: Advance) -> dict[str, Any]:
    bench, scale, circuit, effort = subject.bench, subject.scale, subject.circuit, subject.effort
    parts = parts_by_node(circuit)
    return {
        "needs": minimality(
            bench,
            scale,
            circuit,
            parts,
            draws=effort.draws,
            seed=effort.seed,
            advance=_counted(advance, 2 * len(parts) * (1 + effort.draws)),
        )
    }


def _causal_scrubbing(subject: Subject, advance: Advance) -> dict[str, Any]:
    worker, run, effort = subject.worker, subject.run, subject.effort
    method = circuit_method(run.method)
    try:
        prompts = with_partners(worker.prompts(run, subject.task, seed=run.seed, alike=ALIKE))
        bench = set_up(worker.model(run).weights, prompts, method.ablation)
    except PromptError as error:
        return {"unscrubbed": error.problem}
    recovery = causal_scrubbing(
        bench,
        method.metric,
        subject.circuit,
        draws=effort.draws,
        seed=effort.seed,
        advance=_counted(advance, 2 * effort.draws),
    )
    return {"scrubbing": recovery}


def _fresh_prompts(subject: Subject, _: Advance) -> dict[str, Any]:
    run, task = subject.run, subject.task
    if isinstance(task.generator, PairsGenerator):
        return {}
    method = circuit_method(run.method)
    prompts = subject.worker.prompts(run, task, seed=run.seed + 1, alike=1)
    fresh = set_up(subject.bench.weights, prompts, method.ablation)
    try:
        scale = scale_of(fresh, method.metric)
    except InvalidInput:
        return {}
    value = value_of(fresh, method.metric, subject.circuit.edges)
    return {"fresh": scale.faithfulness(value)}


def _stability(subject: Subject, advance: Advance) -> dict[str, Any]:
    effort = subject.effort
    worker, run, bench = subject.worker, subject.run, subject.bench
    return {"stability": stability(worker, run, bench, effort.resamples, effort.seed, advance)}


def _transfer(subject: Subject, _: Advance) -> dict[str, Any]:
    return {"transfer": transfer(subject.worker, subject.run, subject.bench)}


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
"""How each part is measured: fields of an `Evaluation`."""


def require_same_task(run: RunSpec, task: TaskSpec) -> None:
    """Raises InvalidInput if `task` makes other prompts than those `run` was made on."""
    if task.definition_hash() != run.task_hash:
        raise InvalidInput(
            f"the task '{run.task}' has changed since this run was made",
            where=run.run_id()[:8],
            fix="run `acdc discover` again, and evaluate that run",
        )
