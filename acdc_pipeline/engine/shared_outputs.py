"""Outputs that several circuits have in common, computed once.

The output of a source depends only on the edges upstream of it. A circuit less one node, for
instance, differs from the whole circuit only downstream of that node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from acdc_pipeline.graph import LOGITS, SLOTS, Receiver, Topology, head
from acdc_pipeline.models.weights import TransformerWeights

_NEVER = 2**62

_PIECE = 4096
"""Numbers of a row that are summed together: those of several rows fit into a core's own cache."""


def needed_sources(
    weights: TransformerWeights,
    present: Bool[np.ndarray, " edge"],
    known: Bool[np.ndarray, " src"] | None = None,
) -> Bool[np.ndarray, " src"]:
    """The sources from which a path of present edges leads to the logits.

    In coupled layers all heads are needed as soon as one of them is.

    Args:
        known: sources whose output is known; nothing is needed to compute them.
    """
    topology = weights.topology
    needed = np.zeros(len(topology.sources), dtype=bool)
    unknown = np.ones_like(needed) if known is None else ~known

    def feed(receiver: Receiver) -> None:
        first, n = topology.first_edge[receiver], topology.n_sources_of(receiver)
        needed[:n] |= present[first : first + n]

    feed(Receiver(LOGITS))
    for layer in reversed(range(topology.n_layers)):
        for node in reversed(topology.mixers(layer) + topology.mlp_nodes(layer)):
            source = topology.source_index[node]
            if needed[source] and unknown[source]:
                for receiver in topology.receivers_of([node]):
                    feed(receiver)
        at = topology.head_sources(layer)
        heads = slice(at.start, at.stop)
        computed = needed[heads] & unknown[heads]
        if weights.shapes[layer].coupled and computed.any():
            needed[heads] = computed[:] = True
        for index in computed.nonzero()[0].tolist():
            for slot in SLOTS:
                feed(Receiver(head(layer, index), slot))
    return needed


def identify_outputs(
    weights: TransformerWeights, masks: Sequence[Bool[np.ndarray, " edge"]]
) -> Int[np.ndarray, "circuit src"]:
    """Number the output of each source in each circuit; -1 where it is not needed.

    Equal numbers mean equal outputs on any prompts: the same source, reading in each slot the
    same outputs of other sources.
    """
    topology = weights.topology
    numbers: dict[tuple[int, bytes], int] = {}
    every = np.full((len(masks), len(topology.sources)), -1)
    for ids, mask in zip(every, masks, strict=True):
        needed = needed_sources(weights, mask)
        if needed[0]:
            ids[0] = numbers.setdefault((0, b""), len(numbers))
        for layer in range(topology.n_layers):
            at = topology.head_sources(layer)
            first, heads = at.start, needed[at.start : at.stop].nonzero()[0].tolist()
            receivers = {h: [Receiver(head(layer, h), slot) for slot in SLOTS] for h in heads}
            reads = {h: _reads(topology, ids, mask, of) for h, of in receivers.items()}
            if weights.shapes[layer].coupled:
                reads = dict.fromkeys(heads, b"".join(reads.values()))
            for h, what in reads.items():
                ids[first + h] = numbers.setdefault((first + h, what), len(numbers))
            for node in topology.mixers(layer) + topology.mlp_nodes(layer):
                source = topology.source_index[node]
                if needed[source]:
                    what = _reads(topology, ids, mask, topology.receivers_of([node]))
                    ids[source] = numbers.setdefault((source, what), len(numbers))
    return every


def _reads(
    topology: Topology,
    ids: Int[np.ndarray, " src"],
    mask: Bool[np.ndarray, " edge"],
    receivers: Sequence[Receiver],
) -> bytes:
    """The numbers of the outputs that each of `receivers` reads, as a dictionary key."""
    out = b""
    for receiver in receivers:
        first, n = topology.first_edge[receiver], topology.n_sources_of(receiver)
        out += ids[:n][mask[first : first + n]].tobytes() + b"|"
    return out


def room_for_changes(ids: Int[np.ndarray, "circuit src"], row_bytes: int, budget: int) -> int:
    """The number of rows of `SharedChanges`.

    Args:
        ids: the result of `identify_outputs`.
        row_bytes: of one change.
        budget: bytes. The changes of one circuit are held in any case.
    """
    most = int((ids >= 0).sum(1).max(initial=0))
    distinct = len(np.unique(ids[ids >= 0]))
    return max(most, min(distinct, budget // row_bytes)) + 1


class SharedChanges:
    """A cache of sources' current minus ablated outputs, kept while a later circuit reads them.

    Args:
        rows: room for them, see `room_for_changes`.
        ids: the result of `identify_outputs`; circuits are computed in this order.

    Attributes:
        rows: the changes that are held, room for others, and a last row for whatever is added to
            sums of them.
    """

    def __init__(
        self, rows: Float[Tensor, "row numbers"], ids: Int[np.ndarray, "circuit src"]
    ) -> None:
        self.ids = ids
        self.rows = rows
        self.row_of: dict[int, int] = {}
        # A heap: the lowest rows stay in the cache.
        self.free = list(range(len(self.rows) - 1))
        self.uses: dict[int, list[int]] = {}
        self.last_uses: list[list[int]] = [[] for _ in ids]
        for circuit, at in reversed(list(enumerate(ids))):
            for number in at[at >= 0].tolist():
                if number not in self.uses:
                    self.last_uses[circuit].append(number)
                self.uses.setdefault(number, []).append(circuit)

    def held(self, circuit: int) -> Int[np.ndarray, " src"]:
        """The row of each source's change in this circuit; -1 where it is not held."""
        return np.array([self.row_of.get(number, -1) for number in self.ids[circuit].tolist()])

    def make_room(self, circuit: int, n: int) -> list[int]:
        """Free `n` rows: changes read again last are evicted first, those of `circuit` never."""
        for number in self.last_uses[circuit - 1] if circuit else ():
            if number in self.row_of:
                heappush(self.free, self.row_of.pop(number))
        if len(self.free) < n:
            kept = set(self.ids[circuit].tolist())
            leaving = sorted(self.row_of.keys() - kept, key=lambda i: self._next_use(i, circuit))
            while len(self.free) < n:
                heappush(self.free, self.row_of.pop(leaving.pop()))
        return [heappop(self.free) for _ in range(n)]

    def _next_use(self, number: int, circuit: int) -> int:
        uses = self.uses[number]
        while uses and uses[-1] <= circuit:
            uses.pop()
        return uses[-1] if uses else _NEVER


def sum_rows(
    table: Float[Tensor, "row numbers"],
    rows: Int[np.ndarray, " term"],
    sums: Int[np.ndarray, " term"],
    n: int,
    positions: int = 1,
) -> Float[Tensor, "sum numbers"]:
    """Return `n` sums of rows of `table`, each added up row by row: for sums of few rows.

    Args:
        rows: the row of each term.
        sums: the sum that each term belongs to, in ascending order.
        positions: number of positions that a row consists of.
    """
    pieces = _pieces(positions, table.shape[1])
    terms = np.bincount(sums, minlength=n)
    starts = terms.cumsum() - terms
    piece = np.arange(pieces)
    # Sum by sum, of each one piece after another: a part of every row that stays in the cache.
    place = np.arange(len(sums)) - starts[sums]
    at = np.empty(len(rows) * pieces, dtype=np.int64)
    at[(starts[sums] * pieces + place)[:, None] + terms[sums][:, None] * piece] = (
        rows[:, None] * pieces + piece
    )
    offsets = starts[:, None] * pieces + terms[:, None] * piece
    chosen, first = (torch.from_numpy(part.ravel()).to(table.device) for part in (at, offsets))
    split = table.view(len(table) * pieces, -1)
    return functional.embedding_bag(chosen, split, first, mode="sum").view(n, -1)


def _pieces(positions: int, numbers: int) -> int:
    """The least number of equal pieces, of whole positions, that are short enough."""
    enough = max(1, math.ceil(numbers / _PIECE))
    return next((n for n in range(enough, positions) if positions % n == 0), max(1, positions))
