"""A consensus from its searches: run in groups, here or elsewhere, and resumed after a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from acdc_pipeline.algorithms.consensus import agree
from acdc_pipeline.evaluation import mean_pairwise_jaccard
from acdc_pipeline.execution.checkpoint import BoundCheckpoint, NoCheckpoint
from acdc_pipeline.execution.consensus_searches import ConsensusSearches, Log, kept_in
from acdc_pipeline.graph import Circuit, Decision
from acdc_pipeline.graph.consensus import Consensus, majority

STAND_INS = 10
"""One search for a stand-in for so many searches of the consensus, and at least one."""

GROUP = 5
"""Searches at most of which one worker runs one after the other, and between two checkpoints.

Batches depend on it, so it is the same for every number of workers.
"""

Elsewhere = Callable[[Sequence[int], Log], Future[list[Log]]]
"""Lets another worker run some searches, by number, which the log of search 0 predicts."""


@dataclass(frozen=True)
class FoundConsensus:
    """The circuit that the searches agree on.

    Args:
        circuit: scored by the share of the searches that kept each edge.
        details: counts of the work, as JSON data.
        stand_in_states: states that the searches for stand-ins evaluated.
    """

    circuit: Circuit
    consensus: Consensus
    details: dict[str, Any]
    stand_in_states: int


def find_consensus(
    searches: ConsensusSearches,
    checkpoint: BoundCheckpoint | None = None,
    elsewhere: Elsewhere | None = None,
) -> FoundConsensus:
    """Run all searches, and return what they agree on.

    Args:
        checkpoint: finished searches of an earlier attempt, and the place for those of this one.
        elsewhere: runs groups of searches; None for this process.
    """
    method, topology = searches.method, searches.bench.weights.topology
    if checkpoint is None:
        checkpoint = BoundCheckpoint(NoCheckpoint(), {})
    logs = run_searches(searches, checkpoint, elsewhere)
    circuits = [kept_in(log) for log in logs]
    searches.learn(logs)
    states = searches.states_evaluated
    found = agree(
        topology,
        circuits,
        line=method.consensus_line,
        threshold=method.threshold,
        measure=searches.measure,
        search_without=searches.run_without,
        most_stand_ins=max(1, method.consensus // STAND_INS),
    )
    agreed = found.consensus
    scores = {edge: agreed.share(edge) for edge in topology.edges}
    effects = [decision.effect for log in logs for decision in log]
    if method.difference == "abs":
        effects = list(map(abs, effects))
    details = {
        "edges_tested": sum(map(len, logs)),
        "smallest_margin": min(abs(effect - method.threshold) for effect in effects),
        "consensus": {
            "searches": method.consensus,
            "line": method.consensus_line,
            "sizes": list(map(len, circuits)),
            "jaccard": mean_pairwise_jaccard([Circuit(topology, edges) for edges in circuits]),
            **{role: len(agreed.having(role)) for role in ("necessary", "alternative")},
            **{role: len(agreed.having(role)) for role in ("uncertain", "accidental")},
            "or_groups": [str(group) for group in agreed.groups],
            "stand_in_searches": [str(edge) for edge in found.stand_ins],
            "stand_ins_not_looked_for": found.unchecked,
            "circuits_measured": found.measured,
        },
    }
    circuit = Circuit.of(topology, majority(agreed), scores)
    return FoundConsensus(circuit, agreed, details, searches.states_evaluated - states)


def run_searches(
    searches: ConsensusSearches, checkpoint: BoundCheckpoint, elsewhere: Elsewhere | None
) -> list[Log]:
    """Return the decisions of every search, by number."""
    logs = split_logs(checkpoint.load())
    if not logs:
        logs.append(searches.run(0))
        checkpoint.offer(logs[0])
    groups = groups_of(searches.method.consensus)
    left = [group for group in groups if group[0] >= len(logs)]
    futures = [] if elsewhere is None else [elsewhere(group, logs[0]) for group in left]
    for at, group in enumerate(left):
        found = futures[at].result() if futures else searches.run_group(group, logs[0])
        logs += found
        if futures and searches.on_decision is not None:
            for decision in (decision for log in found for decision in log):
                searches.on_decision(decision)
        checkpoint.offer([decision for log in logs for decision in log])
    return logs


def groups_of(n_searches: int) -> list[range]:
    """Divide all searches but the first into groups of nearly equal size."""
    count = -(-(n_searches - 1) // GROUP)
    bounds = [1 + (n_searches - 1) * at // count for at in range(count + 1)]
    return [range(first, end) for first, end in pairwise(bounds)]


def split_logs(decisions: Sequence[Decision]) -> list[Log]:
    """Return the logs that were written one behind the other: each begins at step 0."""
    logs: list[list[Decision]] = []
    for decision in decisions:
        if decision.step == 0:
            logs.append([])
        logs[-1].append(decision)
    return [tuple(log) for log in logs]
