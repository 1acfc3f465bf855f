"""What a worker does for a search: the same steps on each of its groups of prompts.

Receivers and sources travel as their numbers in the graph. A search is known by the number that the
driver gave it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from acdc_pipeline.engine.search.speculation import PlannedState
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.execution.shards.shard import PromptGroup
from acdc_pipeline.graph import Edge, Node, Receiver
from acdc_pipeline.specs.names import MetricKey


@dataclass(frozen=True)
class Opened:
    """A search of one group that has not started: its value, and the properties of its class."""

    value: float
    max_states: int
    first_overhead: float


@dataclass(frozen=True)
class Visited:
    """A search of one group, ready to try the edges of a receiver.

    Args:
        resumable: whether its state follows from the decisions alone.
        states: how many states the group's memory holds.
        overhead: the fixed cost of the next batch, in units of one state.
        held: bytes of activations of the current circuit.
    """

    resumable: bool
    states: int
    overhead: float
    held: int


@torch.no_grad()
def open_search(group: PromptGroup, number: int, metric: MetricKey) -> Opened:
    """Start a search from the whole model."""
    search = group.search(objective_for(group.bench, metric))
    group.searches[number] = search
    return Opened(search.metric(), search.max_states, search.first_overhead)


@torch.no_grad()
def visit(group: PromptGroup, number: int, receiver: int, sources: list[int]) -> Visited:
    """Move on to a receiver."""
    search = group.searches[number]
    at, nodes = _receiver(group, receiver), _nodes(group, sources)
    resumable = search.visit(at, nodes)
    overhead = search.speculation.overhead
    return Visited(resumable, search.states_that_fit(at), overhead, search.held)


@torch.no_grad()
def restore(
    group: PromptGroup, number: int, receiver: int, sources: list[int], kept: list[int]
) -> None:
    """Take over the decisions on a receiver."""
    search = group.searches[number]
    search.restore(_receiver(group, receiver), _nodes(group, sources), set(_nodes(group, kept)))


@torch.no_grad()
def evaluate(
    group: PromptGroup, number: int, sources: list[int], removed: list[bool]
) -> tuple[list[float], float]:
    """Evaluate planned states, one per source; return their values and the next overhead.

    Args:
        removed: of each source, whether the later states lack its edge as well.
    """
    search = group.searches[number]
    plan: list[PlannedState] = []
    before: tuple[Node, ...] = ()
    for node, gone in zip(_nodes(group, sources), removed, strict=True):
        plan.append(PlannedState(node, before))
        if gone:
            before = (*before, node)
    return search.evaluate(plan), search.speculation.overhead


@torch.no_grad()
def remove(group: PromptGroup, number: int, source: int) -> None:
    """Remove the edge from a source into the visited receiver."""
    search = group.searches[number]
    assert search.receiver is not None
    search.remove(Edge.into(_nodes(group, [source])[0], search.receiver))


@torch.no_grad()
def drop(group: PromptGroup, number: int, sources: list[int]) -> float:
    """Remove the edges from several sources together, untested; return the new value."""
    search = group.searches[number]
    search.drop(_nodes(group, sources))
    return search.metric()


def fork(group: PromptGroup, number: int, other: int) -> None:
    """Continue a search in two ways, the second one under the number `other`."""
    group.searches[other] = group.searches[number].fork()


def close(group: PromptGroup, numbers: list[int]) -> None:
    """Forget searches, as far as the group has them."""
    for number in numbers:
        group.searches.pop(number, None)


def _receiver(group: PromptGroup, receiver: int) -> Receiver:
    return group.bench.weights.topology.receivers[receiver]


def _nodes(group: PromptGroup, sources: list[int]) -> list[Node]:
    every = group.bench.weights.topology.sources
    return [every[source] for source in sources]
