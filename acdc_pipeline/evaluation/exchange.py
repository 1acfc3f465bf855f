"""Which prompts may stand in for one another."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.rows import pick_rows


@dataclass(frozen=True)
class Pool:
    """Groups of prompts that may stand in for one another.

    A draw shifts a group in a circle: of m prompts, the one in place p is replaced by the one in
    place (p + k) mod m, with k drawn from 0 to m - 1, all equally likely.

    Args:
        groups: which group each prompt is in.
        members: the rows of each group's prompts, in order.
    """

    groups: Int[Tensor, " batch"]
    members: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, keys: Sequence[Hashable]) -> Pool:
        """Prompts of the same key may stand in for one another."""
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        groups = [number[key] for key in keys]
        rows: list[list[int]] = [[] for _ in number]
        for row, group in enumerate(groups):
            rows[group].append(row)
        return cls(torch.tensor(groups), tuple(tuple(group) for group in rows))

    @property
    def count(self) -> Int[Tensor, " batch"]:
        """How many may stand in for each prompt, itself included."""
        return torch.tensor([len(group) for group in self.members])[self.groups]

    def draw(self, n: int, generator: torch.Generator) -> Int[Tensor, "edge group"]:
        """Shifts of every group, for each of `n` edges on its own."""
        chance: Float[Tensor, "edge group"] = torch.rand(
            (n, len(self.members)), generator=generator, dtype=torch.float64
        )
        return (chance * torch.tensor([len(group) for group in self.members])).long()


def of_one_length(prompts: PromptSet) -> Pool:
    """Prompts of the same token length."""
    return Pool.of(prompts.lengths.tolist())


def alike(prompts: PromptSet) -> Pool:
    """Prompts that agree in token length, template and roles; alone where none are declared."""
    if not any(prompts.roles):
        return Pool.of(range(len(prompts)))
    keys = zip(prompts.lengths.tolist(), prompts.template, prompts.roles, strict=True)
    # Without roles of its own a prompt agrees with nobody.
    return Pool.of([key if key[2] else (row, *key) for row, key in enumerate(keys)])


def with_partners(prompts: PromptSet) -> PromptSet:
    """The prompts that are not the only one of their token length.

    Raises:
        PromptError: there are none.
    """
    count = of_one_length(prompts).count
    rows = (count > 1).nonzero().flatten().tolist()
    if not rows:
        raise PromptError(
            "no two prompts have the same number of tokens, so none can be exchanged",
            fix="use more prompts",
        )
    return pick_rows(prompts, rows)
