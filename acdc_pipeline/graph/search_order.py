"""The search of ACDC over a graph: the order of its tests, and its decision log."""

from __future__ import annotations

import math
import random
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeVar

from acdc_pipeline.graph.edge import Edge, Receiver, Slot
from acdc_pipeline.graph.node import LOGITS, Node, NodeKind
from acdc_pipeline.graph.spans import spans_written
from acdc_pipeline.graph.topology import Topology

Item = TypeVar("Item")

HeadOrder = Literal["reverse-heads", "natural"]
"""Whether the heads of a layer are visited last to first or first to last."""


@dataclass(frozen=True)
class RandomOrder:
    """A random order in which every receiver is visited before what its sources read.

    The heads of a layer in all their slots come in any order, and so do the sources of each
    receiver; layers, and the parts of a layer, keep their order.

    Args:
        seed: equal seeds give equal orders.
    """

    seed: str

    def receivers(self, receivers: Sequence[Receiver]) -> list[Receiver]:
        """Return the receivers of the heads of one layer in this order."""
        return self._shuffled(receivers, f"{receivers[0].node.layer}") if receivers else []

    def sources(self, receiver: Receiver, sources: Sequence[Node]) -> list[Node]:
        """Return the sources of `receiver` in this order."""
        return self._shuffled(sources, str(receiver))

    def _shuffled(self, items: Sequence[Item], of: str) -> list[Item]:
        return random.Random(f"{self.seed} {of}").sample(items, len(items))


SearchOrder = HeadOrder | RandomOrder

# Within a head, values before keys before queries: the reverse order of computation.
_SLOTS_BACKWARDS: tuple[Slot, ...] = ("v", "k", "q")

_LATEST: tuple[NodeKind, ...] = ("shared", "expert", "mlp", "mixer", "head", "input")


@dataclass(frozen=True, slots=True)
class Decision:
    """A line of ACDC's decision log: one tested edge.

    Args:
        step: position in the log, from 0.
        metric_before: metric of the circuit before the test, oriented so that higher is worse.
        metric_after: metric with the edge removed, same orientation.
        removed: whether the edge was removed permanently.
    """

    step: int
    edge: Edge
    metric_before: float
    metric_after: float
    removed: bool

    @property
    def effect(self) -> float:
        """`metric_after - metric_before`: the cost of removing the edge."""
        return self.metric_after - self.metric_before


@dataclass(frozen=True, slots=True)
class ThresholdRange:
    """The thresholds at which a search takes the same decisions: above `low`, up to `high`."""

    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def of(cls, decisions: Iterable[Decision], difference: Literal["signed", "abs"]) -> Self:
        """Return the range of a decision log."""
        found = cls()
        for decision in decisions:
            found = found.after(decision, difference)
        return found

    def after(self, decision: Decision, difference: Literal["signed", "abs"]) -> Self:
        """Return the thresholds of this range at which `decision` is the same.

        An edge is removed if and only if the change is below the threshold.
        """
        change = decision.effect if difference == "signed" else abs(decision.effect)
        if decision.removed:
            return type(self)(max(self.low, change), self.high)
        return type(self)(self.low, min(self.high, change))

    def __contains__(self, threshold: float) -> bool:
        return self.low < threshold <= self.high


def receivers_backwards(topology: Topology, order: SearchOrder) -> tuple[Receiver, ...]:
    """Return every receiver from the output backwards.

    First `logits`; then layer by layer, last first: the MLP, the mixer, then all `v`, all `k`,
    all `q`. Where experts are nodes, the MLP is what is shared, the experts in the order of heads,
    and then their router. A receiver of several spans is visited in each, the last one first.
    """
    out = [Receiver(LOGITS)]
    for layer in reversed(range(topology.n_layers)):
        out += _mlp_backwards(topology, layer, order)
        out += map(Receiver, topology.mixers(layer))
        heads = topology.heads(layer)[:: 1 if order == "natural" else -1]
        of_heads = [Receiver(node, slot) for slot in _SLOTS_BACKWARDS for node in heads]
        out += order.receivers(of_heads) if isinstance(order, RandomOrder) else of_heads
    return tuple(span for one in out for span in topology.in_spans([one])[::-1])


def _mlp_backwards(topology: Topology, layer: int, order: SearchOrder) -> list[Receiver]:
    receivers = topology.receivers_of(topology.mlp_nodes(layer))
    if order == "natural":
        experts = [receiver for receiver in receivers if receiver.node.kind == "expert"]
        first = receivers.index(experts[0]) if experts else 0
        receivers[first : first + len(experts)] = experts[::-1]
    return receivers[::-1]


def is_read(
    topology: Topology, receiver: Receiver, alive: Container[tuple[Node, str | None]]
) -> bool:
    """Whether an output that depends on `receiver` is alive.

    Args:
        alive: the nodes with a remaining outgoing edge, each with the span of that edge.
    """
    nodes = topology.routers.get(receiver.node, (receiver.node,))
    spans = spans_written(receiver, topology.visible)
    return any((node, span) in alive for node in nodes for span in spans)


def sources_backwards(topology: Topology, receiver: Receiver, order: SearchOrder) -> list[Node]:
    """Return the sources of `receiver`, latest first, `input` last, or in a random order."""
    sources = topology.sources_of(receiver)
    if isinstance(order, RandomOrder):
        return order.sources(receiver, sources)
    if order == "reverse-heads":
        return list(reversed(sources))
    # Layers still come last first; only the heads of a layer are in forward order.
    return sorted(
        sources,
        key=lambda node: (-(-1 if node.layer is None else node.layer), _LATEST.index(node.kind)),
    )
