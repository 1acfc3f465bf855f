"""A batch of states, as their differences from the current circuit."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.batch_work import BatchWork
from acdc_pipeline.engine.layout import Layout, Needed
from acdc_pipeline.graph import Node, Receiver

Parts = dict[str, Float[Tensor, "..."]]

# Up to this many terms a receiver, adding them one by one reads less than a product over all.
_FEW_TERMS = 2


class Scratch:
    """One growing block of memory that every batch writes its changes into.

    Fresh blocks of this size would be handed out and taken back by the operating system each
    time, which costs as much as filling them.
    """

    def __init__(self, like: Float[Tensor, ...]) -> None:
        self._block = like.new_empty(0)

    def take(self, *shape: int) -> Float[Tensor, ...]:
        """Uninitialised memory of that shape; what was taken before is gone."""
        size = 1
        for length in shape:
            size *= length
        if self._block.numel() < size:
            self._block = self._block.new_empty(size)
        return self._block[:size].view(shape)


class Changes:
    """What the reached nodes write, minus what they write now: one row of a block each."""

    def __init__(self, block: Float[Tensor, "node state rows d_model"]) -> None:
        self.block = block
        self.column: dict[Node, int] = {}

    def add(self, node: Node, change: Float[Tensor, "state rows d_model"]) -> None:
        """Note what `node` changes by."""
        self.column[node] = len(self.column)
        self.block[self.column[node]] = change

    def among(self, sources: list[Node]) -> list[Node]:
        """Those of `sources` that changed."""
        return [source for source in sources if source in self.column]

    def summed(self, wanted: list[list[Node]]) -> Float[Tensor, "n state rows d_model"]:
        """For each list of nodes, the sum of their changes; no list may be empty."""
        if sum(map(len, wanted)) <= _FEW_TERMS * len(wanted):
            return torch.stack([self._added(nodes) for nodes in wanted])
        mask = self.block.new_zeros(len(wanted), len(self.column))
        for row, nodes in enumerate(wanted):
            mask[row, [self.column[node] for node in nodes]] = 1
        return torch.tensordot(mask, self.block[: len(self.column)], dims=1)

    def of_state(self, nodes: list[Node], state: int) -> Float[Tensor, "rows d_model"]:
        """The sum of some nodes' changes in one state."""
        return self.block[[self.column[node] for node in nodes], state].sum(0)

    def _added(self, nodes: list[Node]) -> Float[Tensor, "state rows d_model"]:
        total = self.block[self.column[nodes[0]]]
        for node in nodes[1:]:
            total = total + self.block[self.column[node]]
        return total


class Spread:
    """The changes of every reached node: at every row where it is needed there, and at the answers.

    Args:
        capacity: how many nodes can be reached at most.
        n_states: states of the batch.
        layout: prompts, positions and answers.
        scratch: memory for the changes, by the rows they are needed at.
        d_model: width of the residual stream.
    """

    def __init__(
        self,
        capacity: int,
        n_states: int,
        layout: Layout,
        scratch: dict[Needed, Scratch],
        d_model: int,
    ) -> None:
        self.layout = layout
        self.at = {
            needed: Changes(
                scratch[needed].take(capacity, n_states, layout.n_rows(needed), d_model)
            )
            for needed in Needed
        }

    def write(
        self, node: Node, needed: Needed, change: Float[Tensor, "state rows d_model"]
    ) -> None:
        """`node`, needed at those rows, writes that much more than before."""
        if needed is Needed.EVERY:
            self.at[Needed.EVERY].add(node, change)
            change = self.layout.at_answers(change)
        self.at[Needed.ANSWERS].add(node, change)


class Trial:
    """A batch of states: the receiver they differ at, and all that follows from it.

    Args:
        start: the receiver whose edges the states lack.
        delta: by how much its input changes.
        capacity: how many nodes can be reached at most.
        layout: prompts, positions and answers.
        scratch: memory for the changes, at every row and at the answers.
    """

    def __init__(
        self,
        start: Receiver,
        delta: Float[Tensor, "state rows d_model"],
        capacity: int,
        layout: Layout,
        scratch: dict[Needed, Scratch],
    ) -> None:
        self.start = start
        self.delta = delta
        self.n_states, _, d_model = delta.shape
        self.changes = Spread(capacity, self.n_states, layout, scratch, d_model)
        self.reached: dict[Receiver, tuple[Needed, list[Node]]] = {}
        self.heads: list[tuple[Node, Parts]] = []
        self.work = BatchWork(self.n_states, delta.device.type)

    def input_change(self, receiver: Receiver, state: int) -> Float[Tensor, "rows d_model"]:
        """By how much a reached receiver's input changes in one state."""
        if receiver == self.start:
            return self.delta[state]
        needed, sources = self.reached[receiver]
        return self.changes.at[needed].of_state(sources, state)
