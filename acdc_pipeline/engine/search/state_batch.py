"""A batch of states, stored as differences from the current circuit."""

from __future__ import annotations

from functools import reduce
from math import inf, prod

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.layout import Layout, Needed
from acdc_pipeline.graph import Node, Receiver

Parts = dict[str, Float[Tensor, "..."]]

# Up to this many terms per receiver, adding them one by one reads less than a product over all.
_FEW_TERMS = 2

# Multiply-adds done in the fixed time of a batch: a few milliseconds of launches and bookkeeping.
_FIXED_WORK = {"cpu": 8e7}
_FIXED_WORK_ELSEWHERE = 5e10

# Multiply-adds done in the time that reading one weight from memory takes.
_WORK_PER_WEIGHT_READ = 20


class Scratch:
    """A growing block of memory that every batch writes its changes into.

    The operating system would map and unmap fresh blocks of this size for each batch, which costs
    as much as filling them.
    """

    def __init__(self, like: Float[Tensor, ...]) -> None:
        self._block = like.new_empty(0)

    def take(self, *shape: int) -> Float[Tensor, ...]:
        """Uninitialised memory of that shape. Invalidates what was taken before."""
        size = prod(shape)
        if self._block.numel() < size:
            self._block = self._block.new_empty(size)
        return self._block[:size].view(shape)


class Changes:
    """By how much the output of each reached node changes: one row of a block per node."""

    def __init__(self, block: Float[Tensor, "node state rows d_model"]) -> None:
        self.block = block
        self.column: dict[Node, int] = {}

    def add(self, node: Node, change: Float[Tensor, "state rows d_model"]) -> None:
        """Store the change of `node`."""
        self.column[node] = len(self.column)
        self.block[self.column[node]] = change

    def among(self, sources: list[Node]) -> list[Node]:
        """Those of `sources` that changed."""
        return [source for source in sources if source in self.column]

    def summed(self, wanted: list[list[Node]]) -> Float[Tensor, "n state rows d_model"]:
        """For each list of nodes, the sum of their changes; no list may be empty."""
        if sum(map(len, wanted)) <= _FEW_TERMS * len(wanted):
            rows = [[self.block[self.column[node]] for node in nodes] for nodes in wanted]
            return torch.stack([reduce(torch.add, terms) for terms in rows])
        mask = self.block.new_zeros(len(wanted), len(self.column))
        for row, nodes in enumerate(wanted):
            mask[row, [self.column[node] for node in nodes]] = 1
        return torch.tensordot(mask, self.block[: len(self.column)], dims=1)

    def of_state(self, nodes: list[Node], state: int) -> Float[Tensor, "rows d_model"]:
        """The sum of some nodes' changes in one state."""
        return self.block[[self.column[node] for node in nodes], state].sum(0)


class OutputChanges:
    """The changes of all reached nodes: at every row for nodes needed there, and at the answers.

    Args:
        capacity: the largest number of nodes that can be reached.
        scratch: memory for the changes, by the rows they are needed at.
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
        shape = capacity, n_states
        self.at = {
            needed: Changes(block.take(*shape, layout.n_rows(needed), d_model))
            for needed, block in scratch.items()
        }

    def add(self, node: Node, needed: Needed, change: Float[Tensor, "state rows d_model"]) -> None:
        """Store the change of `node`, whose output is needed at the rows `needed`."""
        if needed is Needed.EVERY:
            self.at[Needed.EVERY].add(node, change)
            change = self.layout.at_answers(change)
        self.at[Needed.ANSWERS].add(node, change)


class CountedWork:
    """A batch of states whose work is counted, never timed.

    How states are batched must depend on the run alone, or rounding would differ between machines
    and between repetitions.

    Attributes:
        multiply_adds: those of products with weights. Products of queries with keys and of patterns
            with values, and sums of changes, are not counted.
    """

    def __init__(self, n_states: int, device: torch.device) -> None:
        self.n_states = n_states
        self._fixed_work = _FIXED_WORK.get(device.type, _FIXED_WORK_ELSEWHERE)
        self.multiply_adds = self._weights_read = 0

    def count_product(self, rows_per_state: int, weights: int) -> None:
        """Count the product of that many rows of every state with that many weights."""
        self.multiply_adds += self.n_states * rows_per_state * weights
        self._weights_read += weights

    @property
    def overhead(self) -> float:
        """The fixed cost of the batch in units of one state; inf if states cost nothing."""
        fixed = self._fixed_work + _WORK_PER_WEIGHT_READ * self._weights_read
        return inf if self.multiply_adds == 0 else fixed * self.n_states / self.multiply_adds


class StateBatch(CountedWork):
    """States that differ in the input of one receiver, and all changes that follow.

    Args:
        start: the receiver whose edges the states lack.
        delta: the change of its input.
        capacity, scratch: see `OutputChanges`.

    Attributes:
        changes: by how much the outputs of reached nodes change.
        reached: for each reached receiver, the rows it is needed at and its changed sources.
        heads: the new attention parts of each reached head.
    """

    def __init__(
        self,
        start: Receiver,
        delta: Float[Tensor, "state rows d_model"],
        capacity: int,
        layout: Layout,
        scratch: dict[Needed, Scratch],
    ) -> None:
        super().__init__(len(delta), delta.device)
        self.start = start
        self.delta = delta
        d_model = delta.shape[2]
        self.changes = OutputChanges(capacity, self.n_states, layout, scratch, d_model)
        self.reached: dict[Receiver, tuple[Needed, list[Node]]] = {}
        self.heads: list[tuple[Node, Parts]] = []

    def input_change(self, receiver: Receiver, state: int) -> Float[Tensor, "rows d_model"]:
        """By how much a reached receiver's input changes in one state."""
        if receiver == self.start:
            return self.delta[state]
        needed, sources = self.reached[receiver]
        return self.changes.at[needed].of_state(sources, state)
