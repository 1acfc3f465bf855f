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
    """For each prompt, those that may stand in for it, itself among them.

    Args:
        members: their rows, each row of this filled up with the first of them.
        count: how many they are.
        groups: which group each prompt is in; prompts of a group have the same members.
    """

    members: Int[Tensor, "batch most"]
    count: Int[Tensor, " batch"]
    groups: Int[Tensor, " batch"]

    @classmethod
    def of(cls, keys: Sequence[Hashable]) -> Pool:
        """Prompts of the same key may stand in for one another."""
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        groups = [number[key] for key in keys]
        rows: list[list[int]] = [[] for _ in number]
        for row, group in enumerate(groups):
            rows[group].append(row)
        most = max(map(len, rows))
        filled = [[*group, *[group[0]] * (most - len(group))] for group in rows]
        return cls(
            members=torch.tensor([filled[group] for group in groups]),
            count=torch.tensor([len(rows[group]) for group in groups]),
            groups=torch.tensor(groups),
        )

    def draw(self, n: int, generator: torch.Generator) -> Int[Tensor, "src batch"]:
        """For each of `n` sources and each prompt, one of its members, all equally likely."""
        chance: Float[Tensor, "src batch"] = torch.rand(
            (n, len(self.count)), generator=generator, dtype=torch.float64
        )
        place = (chance * self.count).long()
        return self.members[torch.arange(len(self.count)), place]


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
