"""The measurements of a circuit beside its own metrics, each a function of a subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.errors import InvalidInput, PromptError
from acdc_pipeline.evaluation import (
    FRACTIONS,
    Known,
    Scale,
    causal_scrubbing,
    completeness,
    count_search_forwards,
    measure_circuits,
    measure_scale,
    measure_value,
    minimality,
    parts_by_node,
    random_masks,
    worst_knockouts,
)
from acdc_pipeline.evaluation.null_size import cheap_null
from acdc_pipeline.execution.shards.circuit_jobs import scrub, scrubbing_bench
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import PairsGenerator, RunSpec, TaskSpec, circuit_method
from acdc_pipeline.specs.names import ComparedAblation, MetricKey
from acdc_pipeline.store.figures import is_only_of_its_size
from acdc_pipeline.workflows.ablations import compare_ablations, count_forwards
from acdc_pipeline.workflows.curves import areas_of
from acdc_pipeline.workflows.evaluation_plan import CHEAP, FIELDS, EvaluationPlan, Part
from acdc_pipeline.workflows.measured import Measured
from acdc_pipeline.workflows.stability import stability, transfer

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


def is_trivial(circuit: Circuit) -> bool:
    """Whether a circuit is the only one of its size: it keeps no edges, or all."""
    return is_only_of_its_size(len(circuit), circuit.topology.n_edges)


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
    if not circuit.is_scored and all(map(is_trivial, (circuit, *family))):
        return {}  # its points would be no edges and all edges, as of every search
    by_prompt = subject.metrics[subject.scale.metric].by_prompt
    assert by_prompt is not None
    found = areas_of(
        subject.bench,
        subject.scale,
        by_prompt.scale(subject.plan.seed),
        circuit,
        family,
        circuit_method(subject.run.method).selection,
        _counted(advance, len(FRACTIONS)),
    )
    if found is None:
        return {}
    areas = {name: getattr(found, name) for name in FIELDS["curve"] if name != "curve"}
    return {"curve": found.points, **areas}


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


def _ablations(subject: Subject, advance: Advance) -> dict[str, Any]:
    bench, plan = subject.bench, subject.plan
    names: Sequence[ComparedAblation] = plan.ablations
    reason = None
    if bench.prompts.whole is not None and not {*names} <= {*CHEAP}:
        names = tuple(name for name in CHEAP if name in names)
        reason = "whole answers of several tokens cannot be exchanged"
    found = compare_ablations(
        bench,
        circuit_method(subject.run.method).ablation,
        subject.circuit,
        subject.metrics,
        subject.scale.metric,
        names,
        forwards=plan.forwards,
        seed=plan.seed,
        advance=_counted(advance, count_forwards(names, len(bench.prompts), plan.forwards)),
    )
    return {"ablations": found, "not_exchanged": reason}


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


MEASURES: Mapping[Part, Callable[[Subject, Advance], dict[str, Any]]] = {
    "curve": _curve,
    "null": _null,
    "ablations": _ablations,
    "completeness": _completeness,
    "worst knockouts": _worst_knockouts,
    "minimality": _minimality,
    "causal scrubbing": _causal_scrubbing,
    "fresh prompts": _fresh_prompts,
    "stability": _stability,
    "transfer": _transfer,
}
"""The function that measures each part and returns fields of an `Evaluation`."""
