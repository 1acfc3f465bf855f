"""Running the method of a run, once its model and prompts are ready."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from acdc_pipeline.algorithms import Replay, acdc
from acdc_pipeline.algorithms.eap_ig_acdc import eap_ig_acdc, screen
from acdc_pipeline.algorithms.scoring import DetailedScores, EdgeScores
from acdc_pipeline.algorithms.shared_decisions import SharedDecisions
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation.own_metric import no_gradient_anywhere
from acdc_pipeline.execution.checkpoint import BoundCheckpoint
from acdc_pipeline.execution.consensus_run import Elsewhere, find_consensus
from acdc_pipeline.execution.consensus_searches import ConsensusSearches
from acdc_pipeline.execution.problem import Advance, BenchProblem, Problem
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.graph import Circuit, Decision, Edge, Receiver, Topology
from acdc_pipeline.graph.consensus import Consensus
from acdc_pipeline.graph.integer_program import solver
from acdc_pipeline.graph.search_order import HeadOrder, receivers_backwards
from acdc_pipeline.specs import (
    AcdcMethod,
    EapIgAcdcMethod,
    RunSpec,
    ScoredMethod,
    circuit_method,
)
from acdc_pipeline.specs.methods.base import BaseCircuitMethod
from acdc_pipeline.specs.names import METRICS

# What later searches continue from is held beside the budget of a search: in addition to it, at
# most the budget divided by this number.
_SHARED_PART = 8


@dataclass
class SharedWork:
    """What runs that differ in the size of the circuit alone compute once, under one worker.

    Args:
        decisions: of searches at other thresholds; None before the first.
        scores: of every edge, as they are stored; None before the first run, and for methods whose
            scores depend on the size.
    """

    decisions: SharedDecisions | None = None
    scores: EdgeScores | None = None

    def searches(self, memory: int) -> SharedDecisions:
        """Return `decisions`, made for searches of the byte budget `memory` if there are none."""
        if self.decisions is None:
            self.decisions = SharedDecisions(memory // _SHARED_PART)
        return self.decisions


@dataclass(frozen=True)
class PreparedRun:
    """A run whose model and prompts are ready.

    Args:
        run: the run.
        problem: the model at work on the prompts.
        memory: byte budget beside the weights.
        progress: listener for the progress of the method.
        checkpoint: the decisions of an earlier attempt, and the store for those of this one.
        shared: what earlier runs at other sizes left for this one, which leaves its own there;
            None for a run on its own.
        elsewhere: lets other workers run searches of a consensus; None for this process.
    """

    run: RunSpec
    problem: Problem
    memory: int
    progress: Progress
    checkpoint: BoundCheckpoint
    shared: SharedWork | None = None
    elsewhere: Elsewhere | None = None

    @contextmanager
    def search_progress(self) -> Iterator[None]:
        """Report the start and the end of a search over all edges of the graph."""
        label = f"{self.run.task} on {self.run.model}"
        self.progress.start(self.problem.topology.n_edges, label)
        try:
            yield
        finally:
            self.progress.finish()


@dataclass(frozen=True)
class MethodResult:
    """The circuit that a method found.

    Args:
        circuit: the edges kept, with their scores.
        measured: the edges that were present at the method's last measurement: those of the
            circuit, and those that were never tested.
        decisions: the decision log; empty for methods that score edges.
        last_value: the metric of the circuit as the method last measured it, oriented so that
            higher is worse; None if it did not.
        details: further values to report, as JSON data.
        consensus: of several searches; None for one alone.
    """

    circuit: Circuit
    measured: frozenset[Edge]
    decisions: tuple[Decision, ...] = ()
    last_value: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    consensus: Consensus | None = None


def run_method(prepared: PreparedRun) -> MethodResult:
    """Run the method of a run that finds a circuit.

    Raises:
        InvalidInput: the size of the circuit does not fit the graph.
    """
    method = circuit_method(prepared.run.method)
    if isinstance(method, AcdcMethod):
        if method.consensus:
            return _run_consensus(prepared, method)
        return _run_acdc(prepared, method)
    if isinstance(method, EapIgAcdcMethod):
        return _run_eap_ig_acdc(prepared, method)
    return _run_scored(prepared, method)


def _run_acdc(prepared: PreparedRun, method: AcdcMethod) -> MethodResult:
    """Run ACDC, continuing from the decisions in the checkpoint or of another threshold."""
    checkpoint, shared = prepared.checkpoint, prepared.shared
    topology = prepared.problem.topology
    counter = _Counter(prepared.progress, topology, method.order, topology.edge_set)
    branching = None

    def start() -> Search[Any]:
        return prepared.problem.search(method.metric)

    def on_decision(decision: Decision) -> None:
        counter(decision)
        if branching is not None:
            branching.record(decision)

    with prepared.search_progress(), torch.no_grad():
        if shared is None:
            search = Replay(start(), checkpoint.load())
        else:
            branching = shared.searches(prepared.memory).search(
                method.threshold, method.difference, start, checkpoint.load()
            )
            search = branching.replay
        result = acdc(
            search,
            topology,
            threshold=method.threshold,
            order=method.order,
            difference=method.difference,
            on_decision=on_decision,
            on_resumable=checkpoint.offer,
        )
    if branching is not None:
        branching.finish()
    # A dead node keeps the edges into it that were never tested. Nothing reads it; but where a
    # norm couples the heads of a layer, it still counts.
    removed = {decision.edge for decision in result.decisions if decision.removed}
    last = result.decisions[-1]
    return MethodResult(
        circuit=result.circuit,
        measured=topology.edge_set - removed,
        decisions=result.decisions,
        last_value=last.metric_after if last.removed else last.metric_before,
        details={
            "edges_tested": len(result.decisions),
            "smallest_margin": result.smallest_margin,
        },
    )


def _run_consensus(prepared: PreparedRun, method: AcdcMethod) -> MethodResult:
    """Run ACDC several times, continuing from the finished searches in the checkpoint."""
    problem = prepared.problem
    assert isinstance(problem, BenchProblem), "a consensus is not spread over prompts"
    topology = problem.topology
    tested, kept, begun, total = 0, 0, 0, topology.n_edges * method.consensus

    def on_decision(decision: Decision) -> None:
        nonlocal tested, kept, begun
        tested += 1
        kept += not decision.removed
        begun += decision.step == 0
        # the edges that a finished search needed not test are no work that is left
        done = (begun - 1) * topology.n_edges + decision.step + 1
        prepared.progress.advance(tested, kept, max(0, total - done))

    label = f"{method.consensus} searches for {prepared.run.task} on {prepared.run.model}"
    prepared.progress.start(total, label)
    try:
        searches = ConsensusSearches(
            problem.bench, method, prepared.run.seed, prepared.memory, on_decision
        )
        found = find_consensus(searches, prepared.checkpoint, prepared.elsewhere)
    finally:
        prepared.progress.finish()
    return MethodResult(
        circuit=found.circuit,
        measured=found.circuit.edges,
        details=found.details,
        consensus=found.consensus,
    )


def _run_eap_ig_acdc(prepared: PreparedRun, method: EapIgAcdcMethod) -> MethodResult:
    """Run ACDC on the edges with the best scores."""
    problem = prepared.problem
    topology = problem.topology
    advance = _share_of_edges(prepared)

    def scores(scoring: ScoredMethod) -> EdgeScores:
        return problem.scores(scoring, prepared.run.seed, advance)

    with prepared.search_progress():
        screened = screen(topology, scores, method)
        _require_gradient(method, screened.scores)
        if not screened.edges:
            raise InvalidInput(
                f"{method.screen:g} of the edges hold no path from input to logits",
                field="screen",
                fix="let more edges through",
            )
        counter = _Counter(prepared.progress, topology, method.order, screened.edges)
        with torch.no_grad():
            search = problem.search(method.metric)
            result = eap_ig_acdc(search, screened, method, counter)
    found = result.acdc
    removed = {decision.edge for decision in found.decisions if decision.removed}
    return MethodResult(
        circuit=found.circuit,
        measured=topology.edge_set - removed - result.dropped,
        decisions=found.decisions,
        last_value=result.last_value,
        details={
            "edges_tested": len(found.decisions),
            "edges_screened_out": topology.n_edges - len(screened),
            "smallest_margin": found.smallest_margin,
        },
    )


def _run_scored(prepared: PreparedRun, method: ScoredMethod) -> MethodResult:
    """Score every edge, and cut a circuit of the method's size from the scores."""
    topology = prepared.problem.topology
    edges = method.size(topology.n_edges)
    if edges > topology.n_edges:
        raise InvalidInput(
            f"{edges} is more than the graph of {prepared.run.model} has",
            field="edges",
            allowed=f"1 to {topology.n_edges}",
            fix="give fewer, or a share",
        )
    selection = method.selection
    if selection.by == "ilp":
        solver()  # refused before anything is scored
    shared = prepared.shared if method.scores_fit_every_size else None
    if shared is None or shared.scores is None:
        with prepared.search_progress():
            advance = _share_of_edges(prepared)
            exact = prepared.problem.scores(method, prepared.run.seed, advance)
        _require_gradient(method, exact)
        # Rounded as they are stored, so that the stored scores give the same circuits when cut
        # again.
        rounded = torch.tensor(list(exact.values()), dtype=torch.float32).tolist()
        scores: EdgeScores = dict(zip(exact, rounded, strict=True))
        if isinstance(exact, DetailedScores):
            scores = DetailedScores(scores, exact.details)
        if shared is not None:
            shared.scores = scores
    else:
        scores = shared.scores
    circuit, gap = selection.circuit(topology, scores, edges)
    details = dict(scores.details) if isinstance(scores, DetailedScores) else {}
    if selection.by == "ilp":
        details["selection_gap"] = gap
    if selection.filtered:
        details["edges_of_certain_sign"] = sum(score != 0 for score in scores.values())
    return MethodResult(circuit=circuit, measured=circuit.edges, details=details)


def _require_gradient(method: BaseCircuitMethod, scores: EdgeScores) -> None:
    """Raise InvalidInput if a metric of one's own gave a method of gradients nothing but zeros."""
    if method.UNFIT and method.metric not in METRICS and not any(scores.values()):
        raise no_gradient_anywhere(method.metric)


def _share_of_edges(prepared: PreparedRun) -> Advance:
    """Report fractions of the work as progress, which counts edges."""
    n_edges = prepared.problem.topology.n_edges

    def advance(fraction: float) -> None:
        scored = round(fraction * n_edges)
        prepared.progress.advance(scored, 0, n_edges - scored)

    return advance


class _Counter:
    """Reports decisions as progress. Edges of dead nodes are never tested: `left` is a bound."""

    def __init__(
        self, progress: Progress, topology: Topology, order: HeadOrder, candidates: Container[Edge]
    ) -> None:
        self.progress = progress
        self.tested = 0
        self.kept = 0
        self.left_from: dict[Receiver, int] = {}
        left = 0
        for receiver in reversed(receivers_backwards(topology, order)):
            sources = topology.sources_of(receiver)
            left += sum(Edge.into(source, receiver) in candidates for source in sources)
            self.left_from[receiver] = left
        self.receiver: Receiver | None = None
        self.left = 0

    def __call__(self, decision: Decision) -> None:
        if decision.edge.receiver != self.receiver:
            self.receiver = decision.edge.receiver
            self.left = self.left_from[self.receiver]
        self.tested += 1
        self.left -= 1
        self.kept += not decision.removed
        self.progress.advance(self.tested, self.kept, self.left)
