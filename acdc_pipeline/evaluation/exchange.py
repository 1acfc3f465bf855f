"""Exchanging the outputs of sources between prompts, edge by edge, for causal scrubbing.

Prompts that can replace each other form a group, and every edge shifts the prompts of a group
cyclically. In the Fourier basis over the m prompts, a shift by k rotates the pair (cosine, sine) of
frequency f by the angle 2πfk/m, so that the sum over sources is one matrix product per frequency.
Gathering a row per edge and prompt needs half the arithmetic, but is bound by memory bandwidth.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.shared_outputs import sum_few_rows
from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.prompt_set import pick_rows


@dataclass(frozen=True)
class Pool:
    """Groups of prompts that can replace each other.

    A draw shifts a group cyclically: of m prompts, number p is replaced by number (p + k) mod m,
    with k uniform on 0 to m - 1. `members` are the prompts of each group in the order that is
    shifted.
    """

    groups: Int[Tensor, " batch"]
    members: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, keys: Sequence[Hashable]) -> Pool:
        """Return the pool in which prompts with equal keys form a group."""
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        groups = [number[key] for key in keys]
        rows: list[list[int]] = [[] for _ in number]
        for row, group in enumerate(groups):
            rows[group].append(row)
        return cls(torch.tensor(groups), tuple(tuple(group) for group in rows))

    @property
    def sizes(self) -> Int[Tensor, " group"]:
        """Number of prompts of each group."""
        return torch.tensor([len(group) for group in self.members])

    @property
    def count(self) -> Int[Tensor, " batch"]:
        """Size of each prompt's group."""
        return self.sizes[self.groups]

    def shuffled(self, generator: torch.Generator) -> Pool:
        """Return the pool with the prompts of every group in random order.

        Shifts of one draw move neighbours alike; a new order for each draw makes neighbours of any
        two prompts with the same chance.
        """
        orders = [torch.randperm(len(group), generator=generator) for group in self.members]
        members = zip(self.members, orders, strict=True)
        return Pool(self.groups, tuple(tuple(of[i] for i in order) for of, order in members))

    def draw(self, n: int, generator: torch.Generator) -> Int[Tensor, "edge group"]:
        """Draw the shift of every group, for each of `n` edges independently."""
        chance: Float[Tensor, "edge group"] = torch.rand(
            (n, len(self.members)), generator=generator, dtype=torch.float64
        )
        return (chance * self.sizes).long()


def pool_by_length(prompts: PromptSet) -> Pool:
    """Group prompts of equal token length."""
    return Pool.of(prompts.lengths.tolist())


def pool_by_roles(prompts: PromptSet) -> Pool:
    """Group prompts of equal token length, template and roles; those without roles stay alone."""
    if not any(prompts.roles):
        return Pool.of(range(len(prompts)))
    keys = zip(prompts.lengths.tolist(), prompts.template, prompts.roles, strict=True)
    return Pool.of([key if key[2] else (row, *key) for row, key in enumerate(keys)])


def select_exchangeable(prompts: PromptSet) -> PromptSet:
    """Return the prompts that share their token length with another.

    Raises:
        PromptError: there are none.
    """
    count = pool_by_length(prompts).count
    rows = (count > 1).nonzero().flatten().tolist()
    if not rows:
        raise PromptError(
            "no two prompts have the same number of tokens, so none can be exchanged",
            fix="use more prompts",
        )
    return pick_rows(prompts, rows)


@dataclass(frozen=True)
class Exchange:
    """The prompt that each edge reads in place of another, as shifts of groups (see `Pool`)."""

    pool: Pool
    shift: Int[Tensor, "edge group"]

    def restricted_to(self, rows: Sequence[int]) -> Exchange:
        """Return the exchange among the prompts `rows`, which consist of whole groups."""
        index = {row: i for i, row in enumerate(rows)}
        groups = self.pool.groups[list(rows)].unique()
        members = [tuple(index[row] for row in self.pool.members[i]) for i in groups.tolist()]
        numbered = torch.searchsorted(groups, self.pool.groups[list(rows)])
        return Exchange(Pool(numbered, tuple(members)), self.shift[:, groups])


_SPARSE = 8
"""If fewer than one edge of this many is kept, the kept ones are summed one by one; if fewer than
one source of this many is read, only those are multiplied."""


class ExchangedSums:
    """Sums over edges, each of which carries its source's output on another prompt.

    Outputs that were not written yet are zero.
    """

    def __init__(self, exchange: Exchange, n_sources: int) -> None:
        self.exchange = exchange
        self.n_sources = n_sources
        members = exchange.pool.members
        # Prompts alone in their group are not exchanged and need no transform.
        self._alone = [group[0] for group in members if len(group) == 1]
        self._larger = [i for i, group in enumerate(members) if len(group) > 1]
        self._parts: list[Tensor] = []  # per larger group: (basis vector, source, pos * d_model)
        self._waves: list[Tensor] = []  # per larger group: see `_fourier_basis`
        self._outputs = torch.empty(0)  # of those alone: (source, prompt, pos * d_model)

    def write(self, written: Float[Tensor, "n batch pos d_model"], sources: Sequence[int]) -> None:
        """Store the outputs of `sources`."""
        by_prompt = written.flatten(2).transpose(0, 1)
        at, n, width = _as_index(sources), self.n_sources, by_prompt.shape[-1]
        if not self._outputs.numel() and not self._parts:
            self._per_prompt = written.shape[2:]
            members = [self.exchange.pool.members[group] for group in self._larger]
            self._outputs = by_prompt.new_zeros(n, len(self._alone), width)
            self._parts = [by_prompt.new_zeros(len(group), n, width) for group in members]
            self._waves = [_fourier_basis(len(group)).to(by_prompt) for group in members]
        self._outputs[at] = by_prompt[_as_index(self._alone)].transpose(0, 1)
        for group, parts, waves in zip(self._larger, self._parts, self._waves, strict=True):
            members = list(self.exchange.pool.members[group])
            spectrum = waves @ by_prompt[members].flatten(1)
            parts[:, at] = spectrum.view(len(waves), len(written), -1)

    def read(
        self, edges: Int[Tensor, "n src"], kept: Bool[Tensor, "n src"]
    ) -> Float[Tensor, "n batch pos d_model"]:
        """Return the sum of each receiver's `kept` edges; `edges` start at the first source."""
        (n, n_sources), some = edges.shape, kept.any(0).nonzero().flatten()
        sources = some if _SPARSE * len(some) < n_sources else slice(n_sources)
        if not self._larger:
            return self._sum_alone(kept).unflatten(1, (len(self._alone), *self._per_prompt))
        edges, mask = edges[:, sources], kept[:, sources].to(self._outputs)
        total = mask.new_empty(len(self.exchange.pool.groups), n, self._per_prompt.numel())
        if self._alone:
            total[self._alone] = self._sum_alone(kept).view(n, len(self._alone), -1).transpose(0, 1)
        for group, parts, waves in zip(self._larger, self._parts, self._waves, strict=True):
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
            total[members] = (waves.T @ summed.flatten(1)).view(m, n, -1)
        return total.transpose(0, 1).unflatten(-1, self._per_prompt)

    def _sum_alone(self, kept: Bool[Tensor, "n src"]) -> Float[Tensor, "n alone_pos_d"]:
        """Return the sums for the prompts that are alone in their group."""
        outputs = self._outputs.flatten(1)
        if _SPARSE * int(kept.sum()) >= kept.numel():
            return kept.to(outputs) @ outputs[: kept.shape[1]]
        return sum_few_rows(outputs, kept.cpu().numpy())


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


def _as_index(places: Sequence[int]) -> slice | list[int]:
    """Return consecutive numbers as a slice, which indexes without a copy."""
    first = places[0] if places else 0
    block = range(first, first + len(places))
    return slice(block.start, block.stop) if list(places) == list(block) else list(places)
