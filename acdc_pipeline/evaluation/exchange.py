"""Exchanging the outputs of sources between prompts, edge by edge, for causal scrubbing.

Prompts that can replace each other form a group, and every edge shifts the prompts of a group
cyclically.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

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
        return chance.mul_(self.sizes).long()


def pool_by_length(prompts: PromptSet) -> Pool:
    """Group prompts of equal token length."""
    return Pool.of(prompts.lengths.tolist())


def pool_by_roles(prompts: PromptSet) -> Pool:
    """Group prompts of equal token length, spans, template and roles.

    Those without roles stay alone.
    """
    if not any(prompts.roles):
        return Pool.of(range(len(prompts)))
    spans = prompts.spans
    lengths: list[Hashable] = prompts.lengths.tolist()
    if spans is not None:
        lengths = [tuple(spans.names_of(row)) for row in range(len(prompts))]
    keys = zip(lengths, prompts.template, prompts.roles, strict=True)
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
        if all(len(group) == 1 for group in members):  # no prompt is replaced
            return Exchange(Pool(numbered, tuple(members)), self.shift[:, : len(groups)])
        return Exchange(Pool(numbered, tuple(members)), self.shift.index_select(1, groups))

    def read_by(self, edges: Int[np.ndarray, " term"]) -> Int[np.ndarray, "term batch"]:
        """Return the prompt that each of `edges` reads in place of each prompt."""
        found = np.empty((len(edges), len(self.pool.groups)), dtype=np.int64)
        shift = self.shift.numpy()[edges]
        for group, members in enumerate(self.pool.members):
            place = np.arange(len(members)) + shift[:, group, None]
            found[:, list(members)] = np.array(members)[place % len(members)]
        return found
