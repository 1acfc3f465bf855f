"""Sums over edges, each of which carries its source's output on another prompt.

Every edge shifts the prompts of a group cyclically (`exchange`). In the Fourier basis over the m
prompts of a group, a shift by k rotates the pair (cosine, sine) of frequency f by the angle 2πfk/m,
so that the sum over sources is one matrix product per frequency. Gathering a row per edge and
prompt needs half the arithmetic, but is bound by memory bandwidth: it is faster for few edges only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.answer_batches import as_index
from acdc_pipeline.evaluation.exchange import Exchange

_SPARSE = 8
"""If fewer than one source of this many is read, only those are multiplied."""

_CACHED_BYTES = 2**20
"""Sums that are transformed together, so that they stay in the cache in between."""

_LEAST_COLUMNS = 256
"""Products with fewer columns are slower."""


class Room:
    """Memory for one tensor after another: the first use of new memory costs as much as a sum.

    Args:
        numbers: of the largest tensor that is expected.
    """

    def __init__(self, numbers: int = 0) -> None:
        self._numbers = numbers
        self._memory = torch.empty(0)

    def take(self, like: Float[Tensor, ...], *shape: int) -> Tensor:
        """A tensor of this shape, undefined, in the place of the one before."""
        wanted = math.prod(shape)
        if len(self._memory) < wanted:
            self._numbers = max(self._numbers, wanted)
            self._memory = like.new_empty(self._numbers)
        return self._memory[:wanted].view(shape)


class ExchangedSums:
    """Sums over edges, each of which carries its source's output on another prompt.

    Outputs that were not written yet are zero. What `read` returns is valid until it is called
    again.

    Args:
        few: whether receivers read few edges, so that these are summed one by one.
        room: for the outputs of all sources.
        room_of_sums: for what `read` returns.
    """

    def __init__(
        self,
        exchange: Exchange,
        n_sources: int,
        *,
        few: bool = False,
        room: Room | None = None,
        room_of_sums: Room | None = None,
    ) -> None:
        self.exchange = exchange
        self._room_of_outputs, self._room_of_sums = room or Room(), room_of_sums or Room()
        self.n_sources = n_sources
        alone = all(len(group) == 1 for group in exchange.pool.members)
        self._plain = few or alone  # outputs are kept as they are
        self._few = few
        self._unwritten = torch.ones(n_sources, dtype=torch.bool)
        self._per_prompt = torch.Size()
        # Of source, prompt and pos * d_model.
        self._outputs = torch.empty(0)
        self._basis = _Basis(exchange.pool.members)
        self._matrix = self._basis.matrix
        # Of part, source and pos * d_model; of frequency, source, (cosine, sine) and pos * d_model.
        self._real, self._pairs = torch.empty(0), torch.empty(0)

    def write(self, written: Float[Tensor, "n batch pos d_model"], sources: Sequence[int]) -> None:
        """Store the outputs of `sources`."""
        outputs, at = written.flatten(2), as_index(sources)
        if not self._per_prompt:
            self._per_prompt = written.shape[2:]
            self._allocate(outputs)
        self._unwritten[at] = False
        if self._plain:
            self._outputs[at] = outputs
            return
        matrix, n_real = self._matrix, len(self._basis.real)
        on_real, on_cos, on_sin = matrix[:n_real], matrix[n_real::2], matrix[n_real + 1 :: 2]
        for source, output in zip(sources, outputs, strict=True):
            torch.mm(on_real, output, out=self._real[:, source])
            torch.mm(on_cos, output, out=self._pairs[:, source, 0])
            torch.mm(on_sin, output, out=self._pairs[:, source, 1])

    def _allocate(self, like: Float[Tensor, "_ batch pos_d"]) -> None:
        _, batch, width = like.shape
        self._matrix = self._basis.matrix.to(like)
        outputs = self._room_of_outputs.take(like, batch, self.n_sources, width)
        if self._plain:
            self._outputs = outputs.view(self.n_sources, batch, width)
        else:
            n_real, n_pairs = len(self._basis.real), len(self._basis.pairs)
            self._real = outputs[:n_real]
            self._pairs = outputs[n_real:].view(n_pairs, self.n_sources, 2, width)

    def read(
        self, edges: Int[Tensor, "n src"], kept: Bool[Tensor, "n src"]
    ) -> Float[Tensor, "n batch pos d_model"]:
        """Return the sum of each receiver's `kept` edges; `edges` start at the first source."""
        if self._few:
            total = self._outputs.new_zeros(len(edges), *self._outputs.shape[1:])
            self._add_one_by_one(total, edges, kept)
        else:
            total = self._sum(edges, kept)
        return total.view(len(edges), -1, *self._per_prompt)

    def add_to(
        self,
        total: Float[Tensor, "n batch pos d_model"],
        edges: Int[Tensor, "n src"],
        kept: Bool[Tensor, "n src"],
    ) -> None:
        """Add to `total` what `read` returns."""
        flat = total.flatten(2)
        if self._few:
            self._add_one_by_one(flat, edges, kept)
        else:
            flat += self._sum(edges, kept).view_as(flat)

    def _add_one_by_one(
        self,
        total: Float[Tensor, "n batch pos_d"],
        edges: Int[Tensor, "n src"],
        kept: Bool[Tensor, "n src"],
    ) -> None:
        receivers, sources = kept.numpy().nonzero()
        exchanged = self.exchange.read_by(edges.numpy()[receivers, sources])
        itself = (exchanged == np.arange(exchanged.shape[1])).all(1)
        rows = torch.from_numpy(exchanged).to(total.device)
        terms = zip(receivers.tolist(), sources.tolist(), rows, itself.tolist(), strict=True)
        for receiver, source, read, same in terms:
            if not self._unwritten[source]:
                output = self._outputs[source]
                total[receiver] += output if same else output.index_select(0, read)

    def _sum(
        self, edges: Int[Tensor, "n src"], kept: Bool[Tensor, "n src"]
    ) -> Float[Tensor, "n numbers"]:
        zero = self._unwritten[: kept.shape[1]]
        if zero.any():
            at = zero.nonzero().flatten()
            if self._plain:
                self._outputs[at] = 0
            else:
                self._real[:, at] = self._pairs[:, at] = 0
            self._unwritten[at] = False
        if self._plain:
            return kept.to(self._outputs) @ self._outputs[: kept.shape[1]].flatten(1)
        return self._sum_by_frequency(edges, kept).flatten(1)

    def _sum_by_frequency(
        self, edges: Int[Tensor, "n src"], kept: Bool[Tensor, "n src"]
    ) -> Float[Tensor, "n batch pos_d"]:
        (n, n_sources), some = edges.shape, kept.any(0).nonzero().flatten()
        sources = some if _SPARSE * len(some) < n_sources else slice(n_sources)
        real, pairs = self._real[:, sources], self._pairs[:, sources].flatten(1, 2)
        mask, shifts = kept[:, sources].to(real), self.exchange.shift[edges[:, sources]]
        on_real = self._basis.shift_real(mask, shifts)
        on_pairs = self._basis.shift_pairs(mask, shifts)
        back = self._matrix.T
        width, n_real = real.shape[2], len(on_real)
        summed = self._room_of_sums.take(real, n, len(back), width)
        at_once = max(_LEAST_COLUMNS, _CACHED_BYTES // (len(back) * n * real.element_size()))
        for first in range(0, width, at_once):
            columns = slice(first, first + at_once)
            parts = real.new_empty(len(back), n, min(at_once, width - first))
            torch.bmm(on_real, real[..., columns], out=parts[:n_real])
            both = parts[n_real:].view(len(on_pairs), 2 * n, parts.shape[2])
            torch.bmm(on_pairs, pairs[..., columns], out=both)
            by_prompt = back @ parts.flatten(1)
            summed[..., columns] = by_prompt.view(parts.shape).transpose(0, 1)
        return summed


class _Basis:
    """The Fourier basis over the prompts of several groups.

    Args:
        members: the prompts of each group, in the order that is shifted.

    Attributes:
        real: of each part that a shift multiplies by a number, the group and whether it is of
            alternating signs, which change with odd shifts; else it is the constant.
        pairs: of each pair of a cosine and a sine, the group and the frequency.
        matrix: from outputs on the prompts to the parts, the pairs last. Orthonormal.
    """

    def __init__(self, members: Sequence[tuple[int, ...]]) -> None:
        self.sizes = [len(group) for group in members]
        real: list[tuple[int, bool, Tensor]] = []
        pairs: list[tuple[int, int, Tensor]] = []
        for group, prompts in enumerate(members):
            basis = torch.zeros(len(prompts), sum(self.sizes), dtype=torch.float64)
            basis[:, list(prompts)] = _fourier_basis(len(prompts))
            real.append((group, False, basis[:1]))
            end = len(prompts)
            if end % 2 == 0:
                end -= 1
                real.append((group, True, basis[end:]))
            pairs += [(group, (i + 1) // 2, basis[i : i + 2]) for i in range(1, end, 2)]
        self.real = [part[:2] for part in real]
        self.pairs = [part[:2] for part in pairs]
        self.matrix = torch.cat([part[2] for part in (*real, *pairs)])

    def shift_real(
        self, mask: Float[Tensor, "n src"], shifts: Int[Tensor, "n src group"]
    ) -> Float[Tensor, "part n src"]:
        """The matrices that shift and sum the real parts of sources."""
        out = mask.new_empty(len(self.real), *mask.shape)
        for to, (group, alternating) in zip(out, self.real, strict=True):
            if alternating:
                torch.mul(mask, (1 - 2 * (shifts[..., group] % 2)).to(mask), out=to)
            else:
                to.copy_(mask)
        return out

    def shift_pairs(
        self, mask: Float[Tensor, "n src"], shifts: Int[Tensor, "n src group"]
    ) -> Float[Tensor, "pair twice_n twice_src"]:
        """The matrices that shift and sum the pairs of sources: first for cosines, then sines."""
        n, n_sources = mask.shape
        out = mask.new_empty(len(self.pairs), 2, n, n_sources, 2)
        for to, (group, frequency) in zip(out, self.pairs, strict=True):
            m = self.sizes[group]
            angle = torch.arange(m).to(mask) * (frequency * 2 * math.pi / m)
            shift = shifts[..., group].to(mask.device)
            cos, sin = mask * angle.cos()[shift], mask * angle.sin()[shift]
            to[0, ..., 0], to[0, ..., 1] = cos, sin
            to[1, ..., 0], to[1, ..., 1] = -sin, cos
        return out.view(len(self.pairs), 2 * n, 2 * n_sources)


def _fourier_basis(m: int) -> Float[Tensor, "part batch"]:
    """Return the orthonormal Fourier basis over m cyclic prompts.

    The rows are a constant, cosine and sine of each frequency and, for even m, alternating signs.
    """
    angle = torch.arange(m, dtype=torch.float64) * (2 * math.pi / m)
    rows = [torch.full((m,), math.sqrt(0.5), dtype=torch.float64)]
    for frequency in range(1, (m + 1) // 2):
        rows += [(frequency * angle).cos(), (frequency * angle).sin()]
    if m % 2 == 0:
        rows.append(math.sqrt(0.5) * (1.0 - 2 * (torch.arange(m) % 2)).double())
    return torch.stack(rows) * math.sqrt(2 / m)
