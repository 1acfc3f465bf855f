"""Exchanging the outputs of sources between prompts, edge by edge, for causal scrubbing.

Prompts that can replace each other form a group, and every edge shifts the prompts of a group
cyclically. In the Fourier basis over the m prompts, a shift by k rotates the pair (cosine, sine) of
frequency f by the angle 2πfk/m, so that the sum over sources is one matrix product per frequency.
Gathering a row per edge and prompt needs half the arithmetic, but is bound by memory bandwidth: it
is faster for few edges only.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.answer_batches import as_index
from acdc_pipeline.engine.shared_outputs import sum_rows
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
    if prompts.whole is not None:
        raise PromptError(
            "prompts with whole answers of several tokens cannot be exchanged",
            allowed="answers of one token",
        )
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

    def read_by(self, edges: Int[np.ndarray, " term"]) -> Int[np.ndarray, "term batch"]:
        """Return the prompt that each of `edges` reads in place of each prompt."""
        found = np.empty((len(edges), len(self.pool.groups)), dtype=np.int64)
        shift = self.shift.numpy()[edges]
        for group, members in enumerate(self.pool.members):
            place = np.arange(len(members)) + shift[:, group, None]
            found[:, list(members)] = np.array(members)[place % len(members)]
        return found


_SPARSE = 8
"""If fewer than one source of this many is read, only those are multiplied."""

CACHED_BYTES = 2**20
"""Outputs that are transformed together: what is computed in between stays in the cache."""

_TOGETHER = 16
"""Small groups are transformed together, up to this many prompts, as one matrix of blocks."""


class ExchangedSums:
    """Sums over edges, each of which carries its source's output on another prompt.

    Outputs that were not written yet are zero.

    Args:
        few: whether receivers read few edges, so that these are summed one by one.
    """

    def __init__(self, exchange: Exchange, n_sources: int, *, few: bool = False) -> None:
        self.exchange = exchange
        self.n_sources = n_sources
        alone = all(len(group) == 1 for group in exchange.pool.members)
        self._plain = few or alone  # outputs are kept as they are
        self._few = few
        # Of source, prompt and pos * d_model. Part i of a group is in place of its i-th prompt.
        self._parts = torch.empty(0)
        self._transforms: list[tuple[slice | list[int], Tensor]] = []

    def write(self, written: Float[Tensor, "n batch pos d_model"], sources: Sequence[int]) -> None:
        """Store the outputs of `sources`."""
        outputs, at = written.flatten(2), as_index(sources)
        if not self._parts.numel():
            self._per_prompt = written.shape[2:]
            self._parts = outputs.new_empty(self.n_sources, *outputs.shape[1:])
            self._unwritten = torch.ones(self.n_sources, dtype=torch.bool)
            self._transforms = [
                (as_index(rows), _transform(groups).to(outputs))
                for rows, groups in _together(self.exchange.pool.members)
            ]
        self._unwritten[at] = False
        if self._plain:
            self._parts[at] = outputs
        elif isinstance(at, slice):
            self._change_basis(outputs, self._parts[at])
        else:
            self._parts[at] = self._change_basis(outputs, torch.empty_like(outputs))

    def read(
        self, edges: Int[Tensor, "n src"], kept: Bool[Tensor, "n src"]
    ) -> Float[Tensor, "n batch pos d_model"]:
        """Return the sum of each receiver's `kept` edges; `edges` start at the first source."""
        zero = self._unwritten[: kept.shape[1]]
        if self._few:  # others are not read
            zero = zero & kept.any(0)
        if zero.any():
            self._parts[: len(zero)][zero] = 0
            self._unwritten[: len(zero)] &= ~zero
        if self._few:
            total = self._sum_one_by_one(edges.numpy(), kept.numpy())
        elif self._plain:
            total = kept.to(self._parts) @ self._parts[: kept.shape[1]].flatten(1)
        else:
            total = self._sum_by_frequency(edges, kept)
        return total.view(len(edges), -1, *self._per_prompt)

    def _sum_one_by_one(
        self, edges: Int[np.ndarray, "n src"], kept: Bool[np.ndarray, "n src"]
    ) -> Float[Tensor, "sum pos_d"]:
        batch = self._parts.shape[1]
        receiver, source = kept.nonzero()
        rows = source[:, None] * batch + self.exchange.read_by(edges[receiver, source])
        sums = receiver[:, None] * batch + np.arange(batch)
        order = np.argsort(sums, axis=None, kind="stable")
        table = self._parts.flatten(0, 1)
        return sum_rows(table, rows.ravel()[order], sums.ravel()[order], len(kept) * batch)

    def _sum_by_frequency(
        self, edges: Int[Tensor, "n src"], kept: Bool[Tensor, "n src"]
    ) -> Float[Tensor, "n batch pos_d"]:
        (n, n_sources), some = edges.shape, kept.any(0).nonzero().flatten()
        sources = some if _SPARSE * len(some) < n_sources else slice(n_sources)
        mask, shifts = kept[:, sources].to(self._parts), self.exchange.shift[edges[:, sources]]
        parts = self._parts[sources]
        summed = parts.new_empty(n, *parts.shape[1:])
        for group, members in enumerate(self.exchange.pool.members):
            shift, m, place = shifts[:, :, group].to(mask.device), len(members), sorted(members)
            torch.mm(mask, parts[:, place[0]], out=summed[:, place[0]])
            for frequency in range(1, (m + 1) // 2):
                angle = torch.arange(m).to(mask) * (frequency * 2 * math.pi / m)
                cos, sin = mask * angle.cos()[shift], mask * angle.sin()[shift]
                at_cos, at_sin = place[2 * frequency - 1], place[2 * frequency]
                both = torch.cat([cos, -sin]) @ parts[:, at_cos]
                both.addmm_(torch.cat([sin, cos]), parts[:, at_sin])
                summed[:, at_cos], summed[:, at_sin] = both[:n], both[n:]
            if m % 2 == 0:
                signs = mask * (1 - 2 * (shift % 2))
                torch.mm(signs, parts[:, place[-1]], out=summed[:, place[-1]])
        return self._change_basis(summed, summed, back=True)

    def _change_basis(
        self,
        outputs: Float[Tensor, "n batch pos_d"],
        to: Float[Tensor, "n batch pos_d"],
        *,
        back: bool = False,
    ) -> Float[Tensor, "n batch pos_d"]:
        """Write the Fourier transform of `outputs` over the prompts of every group, or undo it.

        `to` may be `outputs`. A few outputs at a time: what is in between stays in the cache.
        """
        transforms = [(rows, one.T if back else one) for rows, one in self._transforms]
        at_once = max(1, CACHED_BYTES // max(1, outputs[:1].nbytes))
        for some, target in zip(outputs.split(at_once), to.split(at_once), strict=True):
            for rows, transform in transforms:
                target[:, rows] = transform @ some[:, rows]
        return to


def _together(
    members: Sequence[tuple[int, ...]],
) -> list[tuple[list[int], list[tuple[int, ...]]]]:
    """Return groups that are transformed together, and their prompts in order."""
    sets: list[list[tuple[int, ...]]] = []
    for group in members:
        if sets and sum(map(len, sets[-1])) + len(group) <= _TOGETHER:
            sets[-1].append(group)
        else:
            sets.append([group])
    return [(sorted(row for group in groups for row in group), groups) for groups in sets]


def _transform(groups: Sequence[tuple[int, ...]]) -> Float[Tensor, "part batch"]:
    """Return the Fourier transform of several groups, over their prompts in order."""
    index = {row: i for i, row in enumerate(sorted(row for group in groups for row in group))}
    transform = torch.zeros(len(index), len(index), dtype=torch.float64)
    for group in groups:
        parts, prompts = ([index[row] for row in rows] for rows in (sorted(group), group))
        transform[torch.tensor(parts)[:, None], torch.tensor(prompts)] = _fourier_basis(len(group))
    return transform


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
