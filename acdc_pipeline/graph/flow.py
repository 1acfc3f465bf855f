"""Edges as numbers: which outputs they carry, and which outputs depend on what they carry.

An *output* is a node in one span, or a node in a graph without spans. An *input* stands for the
receivers of a node that count for the same outputs: all of them in a graph without spans; else
those of one span whose effect stays at their positions (`q` of a head, an MLP, `logits`), and those
of one span that count for every span that sees it (`k` and `v` of a head, a mixer).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from acdc_pipeline.graph.edge import Receiver
from acdc_pipeline.graph.spans import mixes_positions, spans_written
from acdc_pipeline.graph.topology import Topology

if TYPE_CHECKING:
    from jaxtyping import Int


@lru_cache(maxsize=8)
def flow_of(topology: Topology) -> Flow:
    """Return how the edges of a graph follow one another; the last few graphs are kept."""
    return Flow(topology)


class Flow:
    """How the edges of a graph follow one another.

    Attributes:
        source: for each edge, the number of the output that it carries.
        destination: for each edge, the number of the input that it goes into.
        starts: the outputs of `input`.
        ends: the inputs of `logits`.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        spans = topology.spans or (None,)
        self._n_spans = len(spans)
        self._span = {span: index for index, span in enumerate(spans)}
        self._node = {node: index for index, node in enumerate(topology.nodes)}
        receivers = topology.receivers
        counts = [topology.n_sources_of(receiver) for receiver in receivers]
        at = np.repeat([self._span[receiver.span] for receiver in receivers], counts)
        self.source: Int[np.ndarray, " edge"] = topology.edge_sources * self._n_spans + at
        self.destination: Int[np.ndarray, " edge"] = np.repeat(
            [self._input(receiver) for receiver in receivers], counts
        )
        self.starts = list(range(self._n_spans))
        last = receivers[-(len(topology.answer_spans) or 1) :]
        self.ends = [self._input(receiver) for receiver in last]
        self.n_inputs = 2 * len(self._node) * self._n_spans

    @cached_property
    def outputs_of(self) -> dict[int, list[int]]:
        """For each input, the outputs that depend on it; `logits` has none."""
        topology, found = self.topology, dict[int, list[int]]()
        for receiver in topology.receivers:
            nodes = topology.routers.get(receiver.node, (receiver.node,))
            spans = spans_written(receiver, topology.visible)
            found[self._input(receiver)] = [
                self._node[node] * self._n_spans + self._span[span]
                for node in nodes
                for span in spans
                if node in topology.source_index
            ]
        return found

    @cached_property
    def inputs_of(self) -> dict[int, list[int]]:
        """For each output, the inputs that it depends on; those of `input` have none."""
        found: dict[int, list[int]] = defaultdict(list)
        for number, outputs in self.outputs_of.items():
            for output in outputs:
                found[output].append(number)
        return found

    @cached_property
    def n_live(self) -> int:
        """How many edges of the whole graph are on a path from `input` to `logits`.

        Every receiver reads `input`, so that the way to `logits` decides. An edge into what writes
        in a span that nothing reads has none.
        """
        reached = np.zeros(self.n_inputs, dtype=bool)
        new = set(self.ends)
        while new:
            entered = np.zeros(self.n_inputs, dtype=bool)
            entered[list(new)] = True
            reached |= entered
            outputs = np.unique(self.source[entered[self.destination]]).tolist()
            found = {number for output in outputs for number in self.inputs_of.get(output, ())}
            new = {number for number in found if not reached[number]}
        return int(reached[self.destination].sum())

    def live(self, edges: Iterable[int]) -> set[int]:
        """Return those of some edges, given by number, on a path from `input` to `logits`."""
        edges = list(edges)
        leaving: dict[int, list[int]] = defaultdict(list)
        for edge in edges:
            leaving[int(self.source[edge])].append(edge)
        forward = self._follow(self.starts, leaving, self.destination, self.outputs_of)
        return forward & self.leading_to_logits(edges)

    def leading_to_logits(self, edges: Iterable[int]) -> set[int]:
        """Return those of some edges that have a path to `logits`."""
        entering: dict[int, list[int]] = defaultdict(list)
        for edge in edges:
            entering[int(self.destination[edge])].append(edge)
        return self._follow(self.ends, entering, self.source, self.inputs_of)

    @staticmethod
    def _follow(
        starts: list[int],
        edges: dict[int, list[int]],
        far_end: Int[np.ndarray, " edge"],
        beyond: dict[int, list[int]],
    ) -> set[int]:
        """The edges that can be reached from `starts`."""
        found: set[int] = set()
        seen, stack = set(starts), list(starts)
        while stack:
            for edge in edges.get(stack.pop(), ()):
                found.add(edge)
                for place in beyond.get(int(far_end[edge]), ()):
                    if place not in seen:
                        seen.add(place)
                        stack.append(place)
        return found

    def _input(self, receiver: Receiver) -> int:
        """The number of an input: those that mix positions come after all others."""
        number = self._node[receiver.node] * self._n_spans + self._span[receiver.span]
        mixing = receiver.span is not None and mixes_positions(receiver)
        return number + mixing * len(self._node) * self._n_spans
