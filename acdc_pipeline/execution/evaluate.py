"""A circuit measured from every side: what `acdc evaluate` shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.errors import InvalidInput, PromptError
from acdc_pipeline.evaluation import (
    Knockout,
    Need,
    Point,
    Recovery,
    Scale,
    causal_scrubbing,
    circuit_model_distance,
    circuit_performance_ratio,
    completeness,
    measure,
    minimality,
    parts_by_node,
    percentile,
    pessimistic_auc,
    random_circuits,
    roc_of_circuits,
    roc_of_scores,
    scale_of,
    value_of,
    with_partners,
    worst_knockouts,
)
from acdc_pipeline.evaluation.measure import circuit_logprobs
from acdc_pipeline.execution.curves import curve_of, rank_of
from acdc_pipeline.execution.reference import reference_for
from acdc_pipeline.execution.stability import Stability, Transfer, stability, transfer
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import PairsGenerator, RunSpec, TaskSpec, circuit_method

ALIKE = 4
"""How many prompts agree in their roles when circuits are scrubbed."""


@dataclass(frozen=True)
class Effort:
    """How much is drawn.

    Args:
        null: random circuits of equal size; 0 leaves the null out.
        draws: random sets of parts for completeness and minimality, and rounds of scrubbing.
        restarts: greedy searches for the parts without which circuit and model differ most.
        resamples: bootstrap resamples of the prompts on which the search is repeated; 0 leaves
            stability and transfer out.
        seed: of everything drawn here.
    """

    null: int
    draws: int
    restarts: int
    resamples: int
    seed: int


@dataclass(frozen=True)
class Evaluation:
    """What is known of a circuit.

    Args:
        circuit: what was measured.
        scale: the metric and its ends.
        value: m(C), in the metric's own sign.
        faithfulness: 1 is the whole model, 0 nothing.
        kl: KL(model ‖ circuit) in nats.
        curve: smallest fraction first; empty where there is nothing to cut by.
        cpr, cmd: its areas (MIB); None without it.
        null: faithfulness of random circuits of equal size.
        percentile: share of them that are less faithful; None without a null.
        knockouts: completeness.
        worst: the worst knockout that each greedy search found.
        needs: minimality.
        auc: pessimistic area under the ROC curve against the task's reference; None without one.
        scrubbing: causal scrubbing; None where it could not be done.
        unscrubbed: why not.
        fresh: faithfulness on prompts of another seed; None where the task has no other prompts.
        stability: of the search under resampled prompts; None where there was no search.
        transfer: of the search to templates it did not see; likewise.
    """

    circuit: Circuit
    scale: Scale
    value: float
    faithfulness: float
    kl: float
    curve: tuple[Point, ...]
    cpr: float | None
    cmd: float | None
    null: tuple[float, ...]
    percentile: float | None
    knockouts: tuple[Knockout, ...]
    worst: tuple[Knockout, ...]
    needs: tuple[Need, ...]
    auc: float | None
    scrubbing: Recovery | None
    unscrubbed: str | None
    fresh: float | None
    stability: Stability | None
    transfer: Transfer | None

    def __repr__(self) -> str:
        better = (
            ""
            if self.percentile is None
            else f", above {self.percentile:.0%} of {len(self.null)} random circuits"
        )
        return (
            f"<evaluation: faithfulness {self.faithfulness:.3g} ({self.scale.metric}), "
            f"KL {self.kl:.3g}{better}>"
        )


def evaluate(
    worker: Worker,
    run: RunSpec,
    task: TaskSpec,
    circuit: Circuit,
    family: Sequence[Circuit],
    effort: Effort,
    doing: Callable[[str], None] = lambda _: None,
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
        effort: how much is drawn.
        doing: told what is measured next.

    Raises:
        InvalidInput: the metric cannot tell the model from nothing.
        PromptError, ParityError, ExecutionFailed: as `Worker.execute`.
    """
    doing("faithfulness")
    bench = worker.bench(run, task)
    method = circuit_method(run.method)
    scale = scale_of(bench, method.metric)
    found = measure(bench, circuit_logprobs(bench, circuit.edges), [method.metric, "kl"])
    value = found[method.metric]
    points = curve_of(bench, scale, circuit, family, rank_of(method))
    doing("random circuits")
    null = [
        scale.faithfulness(value_of(bench, method.metric, other.edges))
        for other in random_circuits(
            circuit.topology, edges=max(1, len(circuit)), n=effort.null, seed=effort.seed
        )
    ]
    parts = parts_by_node(circuit)
    draws, seed = effort.draws, effort.seed
    doing("completeness")
    knockouts = completeness(bench, scale, circuit, parts, draws=draws, seed=seed)
    worst = worst_knockouts(bench, scale, circuit, parts, restarts=effort.restarts, seed=seed)
    doing("minimality")
    needs = minimality(bench, scale, circuit, parts, draws=draws, seed=seed)
    doing("causal scrubbing")
    scrubbing, unscrubbed = _scrubbed(worker, run, task, circuit, effort)
    fresh = _fresh(worker, run, task, circuit, bench)
    searched = bool(family) and effort.resamples > 0
    if searched:
        doing("stability and transfer")
    return Evaluation(
        circuit=circuit,
        scale=scale,
        value=value,
        faithfulness=scale.faithfulness(value),
        kl=found["kl"],
        curve=points,
        cpr=circuit_performance_ratio(points) if points else None,
        cmd=circuit_model_distance(points) if points else None,
        null=tuple(null),
        percentile=percentile(scale.faithfulness(value), null) if null else None,
        knockouts=knockouts,
        worst=worst,
        needs=needs,
        auc=_auc(run, task, circuit, family),
        scrubbing=scrubbing,
        unscrubbed=unscrubbed,
        fresh=fresh,
        stability=stability(worker, run, bench, effort.resamples, seed) if searched else None,
        transfer=transfer(worker, run, bench) if searched else None,
    )


def _auc(run: RunSpec, task: TaskSpec, circuit: Circuit, family: Sequence[Circuit]) -> float | None:
    reference = reference_for(run, task, circuit.topology)
    if reference is None or not reference.names_edges:
        return None
    truth = reference.circuit(circuit.topology)
    if circuit.scores.keys() == circuit.topology.edge_set:
        rank = rank_of(circuit_method(run.method))
        return pessimistic_auc(roc_of_scores(circuit.scores, truth.edges, rank))
    return pessimistic_auc(roc_of_circuits([circuit, *family], truth))


def _scrubbed(
    worker: Worker, run: RunSpec, task: TaskSpec, circuit: Circuit, effort: Effort
) -> tuple[Recovery | None, str | None]:
    method = circuit_method(run.method)
    try:
        prompts = with_partners(worker.prompts(run, task, seed=run.seed, alike=ALIKE))
        bench = set_up(worker.model(run).weights, prompts, method.ablation)
    except PromptError as error:
        return None, error.problem
    draws, seed = max(1, effort.draws), effort.seed
    return causal_scrubbing(bench, method.metric, circuit, draws=draws, seed=seed), None


def _fresh(
    worker: Worker, run: RunSpec, task: TaskSpec, circuit: Circuit, bench: Bench
) -> float | None:
    if isinstance(task.generator, PairsGenerator):
        return None
    method = circuit_method(run.method)
    prompts = worker.prompts(run, task, seed=run.seed + 1, alike=1)
    fresh = set_up(bench.weights, prompts, method.ablation)
    try:
        scale = scale_of(fresh, method.metric)
    except InvalidInput:
        return None
    return scale.faithfulness(value_of(fresh, method.metric, circuit.edges))


def require_same_task(run: RunSpec, task: TaskSpec) -> None:
    """Raises InvalidInput if `task` makes other prompts than those `run` was made on."""
    if task.definition_hash() != run.task_hash:
        raise InvalidInput(
            f"the task '{run.task}' has changed since this run was made",
            where=run.run_id()[:8],
            fix="run `acdc discover` again, and evaluate that run",
        )
