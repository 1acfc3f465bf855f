"""Sums over edges that each carry their source's output on another prompt.

Every edge shifts the prompts of a group in a circle. A discrete Fourier transform over the prompts
turns a shift by k into a factor e^(2πifk/m) at frequency f, so that the sum over sources is one
matrix product per frequency. Gathering a row per edge and prompt does half the arithmetic, but
waits for memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
        self._outputs = torch.empty(0)
        self._spectra: list[list[Tensor]] = []

    def write(self, written: Float[Tensor, "n batch pos d_model"], sources: Sequence[int]) -> None:
        """Take what the `sources` write."""
        by_prompt = written.flatten(2).transpose(0, 1)
        if not self._outputs.numel() and not self._spectra:
            self._make_room(by_prompt)
            self._per_position = written.shape[2:]
        at = list(sources)
        self._outputs[:, at] = by_prompt[self._alone]
        for group, spectrum in zip(self._larger, self._spectra, strict=True):
            rows = list(self.exchange.pool.members[group])
            waves = torch.fft.rfft(by_prompt[rows], dim=0)
            for wave, known in zip(waves, spectrum, strict=True):
                known[at] = wave if known.is_complex() else wave.real

    def over(
        self, edges: Int[Tensor, "n src"], kept: Bool[Tensor, "n src"]
    ) -> Float[Tensor, "n batch pos d_model"]:
        """What each of n receivers gets over its `edges`, from the first sources on, as `kept`."""
        n, some = edges.shape[1], kept.any(0).nonzero().flatten()
        sources = slice(n) if len(some) == n else some
        edges, mask = edges[:, sources], kept[:, sources].to(self._outputs)
        total = mask.new_empty(
            len(self.exchange.pool.groups), len(edges), self._per_position.numel()
        )
        total[self._alone] = mask @ self._outputs[:, sources]
        for group, spectrum in zip(self._larger, self._spectra, strict=True):
            rows = list(self.exchange.pool.members[group])
            shift, m = self.exchange.shift[:, group][edges].to(mask.device), len(rows)
            waves = []
            for frequency, known in enumerate(spectrum):
                angle = (shift * frequency % m).to(mask) * (2 * math.pi / m)
                turn = torch.polar(mask, angle)
                turn = turn if known.is_complex() else turn.real.contiguous()
                waves.append((turn @ known[sources]).to(turn.dtype.to_complex()))
            total[rows] = torch.fft.irfft(torch.stack(waves), n=m, dim=0)
        return total.transpose(0, 1).unflatten(-1, self._per_position)

    def _make_room(self, by_prompt: Float[Tensor, "batch n pos_d"]) -> None:
        shape = self.n_sources, by_prompt.shape[-1]
        self._outputs = by_prompt.new_zeros(len(self._alone), *shape)
        for group in self._larger:
            m = len(self.exchange.pool.members[group])
            # At frequency 0 and at half a turn per prompt the spectrum is real.
            self._spectra.append(
                [
                    by_prompt.new_zeros(
                        shape, dtype=None if f in (0, m / 2) else by_prompt.dtype.to_complex()
                    )
                    for f in range(m // 2 + 1)
                ]
            )
