"""Sums over edges that each carry their source's output on another prompt.

Every edge shifts the prompts of a group in a circle. In the Fourier basis over the m prompts a
shift by k turns the pair (cosine, sine) of frequency f by the angle 2πfk/m, so that the sum over
sources is a matrix product per frequency. Gathering a row per edge and prompt does half the
arithmetic, but waits for memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.evaluation.exchange import Pool


@dataclass(frozen=True)
class Exchange:
    """Which prompt each edge reads in place of another.

    Args:
        pool: the groups of prompts that stand in for one another.
        shift: for each edge and group, how far its prompts are shifted (see `Pool`).
    """

    pool: Pool
    shift: Int[Tensor, "edge group"]

    def restricted_to(self, rows: Sequence[int]) -> Exchange:
        """The groups that the prompts `rows` are made of; row i of it is `rows[i]`."""
        place = {row: i for i, row in enumerate(rows)}
        groups = self.pool.groups[list(rows)].unique()
        members = [tuple(place[row] for row in self.pool.members[i]) for i in groups.tolist()]
        numbered = torch.searchsorted(groups, self.pool.groups[list(rows)])
        return Exchange(Pool(numbered, tuple(members)), self.shift[:, groups])


class ExchangedSums:
    """What receivers read of outputs that are exchanged edge by edge.

    Args:
        exchange: which prompt each edge reads.
        n_sources: how many sources the model has; those that are not written count as zero.
    """

    def __init__(self, exchange: Exchange, n_sources: int) -> None:
        self.exchange = exchange
        self.n_sources = n_sources
        members = exchange.pool.members
        # Prompts that are alone in their group stay in place, and are summed as they are.
        self._alone = [group[0] for group in members if len(group) == 1]
        self._larger = [i for i, group in enumerate(members) if len(group) > 1]
        self._parts: list[
            Tensor
        ] = []  # of each larger group: part of the spectrum, source, numbers
        self._outputs = torch.empty(0)

    def write(self, written: Float[Tensor, "n batch pos d_model"], sources: Sequence[int]) -> None:
        """Take what the `sources` write."""
        by_prompt = written.flatten(2).transpose(0, 1)
        at = _slice_of(sources)
        if not self._outputs.numel() and not self._parts:
            self._per_prompt = written.shape[2:]
            members = [self.exchange.pool.members[group] for group in self._larger]
            shape = self.n_sources, by_prompt.shape[-1]
            self._outputs = by_prompt.new_zeros(len(self._alone), *shape)
            self._parts = [by_prompt.new_zeros(len(group), *shape) for group in members]
        self._outputs[:, at] = by_prompt[self._alone]
        for group, parts in zip(self._larger, self._parts, strict=True):
            members = list(self.exchange.pool.members[group])
            waves = _waves(len(members)).to(parts)
            parts[:, at] = (waves @ by_prompt[members].flatten(1)).view(
                len(waves), len(written), -1
            )

    def over(
        self, edges: Int[Tensor, "n src"], kept: Bool[Tensor, "n src"]
    ) -> Float[Tensor, "n batch pos d_model"]:
        """What each of n receivers gets over its `edges`, from the first sources on, as `kept`."""
        (n, n_sources), some = edges.shape, kept.any(0).nonzero().flatten()
        sources = some if 8 * len(some) < n_sources else slice(n_sources)
        edges, mask = edges[:, sources], kept[:, sources].to(self._outputs)
        alone = mask @ self._outputs[:, sources]
        if not self._larger:
            return alone.transpose(0, 1).unflatten(-1, self._per_prompt)
        total = mask.new_empty(len(self.exchange.pool.groups), n, self._per_prompt.numel())
        total[self._alone] = alone
        for group, parts in zip(self._larger, self._parts, strict=True):
            members = list(self.exchange.pool.members[group])
            shift, m = self.exchange.shift[:, group][edges].to(mask.device), len(members)
            summed = parts.new_empty(m, n, parts.shape[-1])
            summed[0] = mask @ parts[0, sources]
            for frequency in range(1, (m + 1) // 2):
                angle = (shift * frequency % m).to(mask) * (2 * math.pi / m)
                cos, sin = mask * angle.cos(), mask * angle.sin()
                at_cos, at_sin = 2 * frequency - 1, 2 * frequency
                both = torch.cat([cos, -sin]) @ parts[at_cos, sources]
                both.addmm_(torch.cat([sin, cos]), parts[at_sin, sources])
                summed[at_cos : at_sin + 1] = both.view(2, n, -1)
            if m % 2 == 0:
                summed[-1] = (mask * (1 - 2 * (shift % 2))) @ parts[-1, sources]
            total[members] = (_waves(m).to(parts).T @ summed.flatten(1)).view(m, n, -1)
        return total.transpose(0, 1).unflatten(-1, self._per_prompt)


@cache
def _waves(m: int) -> Float[Tensor, "part batch"]:
    """The orthonormal Fourier basis over m prompts in a circle.

    The constant; cosine and sine of each frequency; for even m, +1 and -1 by turns.
    """
    angle = torch.arange(m, dtype=torch.float64) * (2 * math.pi / m)
    rows = [torch.full((m,), math.sqrt(0.5), dtype=torch.float64)]
    for frequency in range(1, (m + 1) // 2):
        rows += [(frequency * angle).cos(), (frequency * angle).sin()]
    if m % 2 == 0:
        rows.append(math.sqrt(0.5) * (1.0 - 2 * (torch.arange(m) % 2)).double())
    return torch.stack(rows) * math.sqrt(2 / m)


def _slice_of(places: Sequence[int]) -> slice | list[int]:
    """The places as a slice, which takes no copy, where they follow one another."""
    first, n = places[0], len(places)
    return (
        slice(first, first + n) if list(places) == list(range(first, first + n)) else list(places)
    )
