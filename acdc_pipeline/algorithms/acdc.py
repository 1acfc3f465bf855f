"""ACDC: iterative edge pruning by activation patching (Conmy et al. 2023, Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from acdc_pipeline.graph import LOGITS, Circuit, Decision, Edge, Node, Receiver, Topology
from acdc_pipeline.graph.search_order import (
    SearchOrder,
    is_read,
    receivers_backwards,
    sources_backwards,
)
from acdc_pipeline.specs.names import Difference


@runtime_checkable
class EdgeSearch(Protocol):
    """The circuit so far, and what removing one more edge from it would cost.

    Every value is oriented so that higher is worse.
    """

    def metric(self) -> float:
        """The metric of the circuit so far."""
        ...

    def visit(self, receiver: Receiver, sources: list[Node]) -> bool:
        """Move on to `receiver`, whose edges from `sources` will be tried in this order.

        Returns whether all that follows depends, to the bit, on the decisions so far alone.
        """
        ...

    def metric_without(self, edge: Edge) -> float:
        """The metric if `edge` were removed as well."""
        ...

    def remove(self, edge: Edge) -> None:
        """Remove `edge`, the last one tried, for good."""
        ...


@dataclass(frozen=True)
class AcdcResult:
    """The circuit that ACDC found, and its decisions in order."""

    circuit: Circuit
    decisions: tuple[Decision, ...]
    smallest_margin: float
    """The smallest |change - threshold| of all decisions, in units of the metric."""


def acdc(
    search: EdgeSearch,
    topology: Topology,
    *,
    threshold: float,
    order: SearchOrder,
    difference: Difference,
    candidates: Container[Edge] | None = None,
    on_decision: Callable[[Decision], None] | None = None,
    on_resumable: Callable[[tuple[Decision, ...]], None] | None = None,
) -> AcdcResult:
    """Remove every edge whose removal makes the metric worse by less than `threshold`.

    Receivers are visited from the output backwards, and the sources of each from the latest to the
    earliest. A node without remaining outgoing edges is dead: its incoming edges are not tested. A
    router is dead if all its experts are. In a graph with spans a node lives or dies in each span.
    The score of an edge is the change that its removal would have made; higher means more needed.

    Args:
        search: starts as the whole model; a `Replay` continues an interrupted search.
        topology: the graph of the model.
        threshold: τ, in units of the metric; the comparison is strict.
        order: direction among the heads of a layer, `indices_mode` in the original code; or a
            random order of heads, slots and sources.
        difference: with `signed`, an edge whose removal helps is removed; `abs` compares the
            absolute change.
        candidates: the edges to test; None means all. The search itself has to remove the others
            when their receiver is visited.
        on_decision: called after each decision, in order.
        on_resumable: called with all decisions so far, at each point from which a `Replay` of them
            continues bit for bit.
    """
    kept: list[Edge] = []
    alive: set[tuple[Node, str | None]] = set()
    decisions: list[Decision] = []
    smallest_margin = math.inf
    current = search.metric()
    for receiver in receivers_backwards(topology, order):
        if receiver.node != LOGITS and not is_read(topology, receiver, alive):
            continue
        sources = sources_backwards(topology, receiver, order)
        if candidates is not None:
            sources = [source for source in sources if Edge.into(source, receiver) in candidates]
        if search.visit(receiver, sources) and on_resumable is not None:
            on_resumable(tuple(decisions))
        if candidates is not None:
            current = search.metric()
        for source in sources:
            edge = Edge.into(source, receiver)
            after = search.metric_without(edge)
            change = after - current if difference == "signed" else abs(after - current)
            smallest_margin = min(smallest_margin, abs(change - threshold))
            decision = Decision(len(decisions), edge, current, after, removed=change < threshold)
            if decision.removed:
                search.remove(edge)
                current = after
            else:
                kept.append(edge)
                alive.add((source, edge.span))
            decisions.append(decision)
            if on_decision is not None:
                on_decision(decision)
    return AcdcResult(
        circuit=Circuit.of(topology, kept, {d.edge: d.effect for d in decisions}),
        decisions=tuple(decisions),
        smallest_margin=smallest_margin,
    )
