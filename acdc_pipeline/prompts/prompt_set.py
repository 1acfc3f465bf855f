"""Prompt pairs as tensors, aligned and ready for a model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class PromptSet:
    """Clean prompts, their counterfactuals of equal token length, and where answers are read.

    Prompts are padded on the right; under causal attention padding never reaches an answer.

    Args:
        clean: token ids.
        corrupted: token ids of the counterfactuals; row i has the length of clean row i.
        lengths: tokens of each prompt, padding excluded.
        answer_row: for each answer, the prompt it belongs to.
        answer_pos: for each answer, the position whose logits predict it.
        correct: for each answer, the token ids that count as correct (at least one).
        incorrect: for each answer, the token ids that count as incorrect (may be empty).
        clean_text: the clean prompts as text, for people; empty strings where there is none.
        corrupted_text: the counterfactuals as text.
        template: for each prompt, which template of the task it came from (0 where none).
        roles: for each prompt, what its task declares to decide its answer; empty where nothing
            is declared for any.
    """

    clean: Int[Tensor, "batch pos"]
    corrupted: Int[Tensor, "batch pos"]
    lengths: Int[Tensor, " batch"]
    answer_row: Int[Tensor, " answer"]
    answer_pos: Int[Tensor, " answer"]
    correct: tuple[tuple[int, ...], ...]
    incorrect: tuple[tuple[int, ...], ...]
    clean_text: tuple[str, ...]
    corrupted_text: tuple[str, ...]
    template: tuple[int, ...]
    roles: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return self.clean.shape[0]

    @property
    def rows_with_equal_sides(self) -> list[int]:
        """The prompts whose counterfactual is the prompt itself, ascending."""
        return (self.clean == self.corrupted).all(-1).nonzero().flatten().tolist()

    def to(self, device: torch.device) -> PromptSet:
        """The same prompts on another device."""
        names = ("clean", "corrupted", "lengths", "answer_row", "answer_pos")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})
