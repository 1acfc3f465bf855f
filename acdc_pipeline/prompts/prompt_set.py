"""Aligned prompt pairs as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class PromptSet:
    """Clean prompts, their counterfactuals of equal token length, and their answers.

    Prompts are padded on the right; under causal attention padding never reaches an answer.

    Args:
        clean: token ids.
        corrupted: token ids of the counterfactuals; row i has the length of clean row i.
        lengths: number of tokens of each prompt without padding.
        answer_row: for each answer, the prompt it belongs to.
        answer_pos: for each answer, the position whose logits predict it.
        correct: for each answer, the token ids that count as correct (at least one).
        incorrect: for each answer, the token ids that count as incorrect (may be empty).
        clean_text: texts of the clean prompts.
        corrupted_text: texts of the counterfactuals.
        template: for each prompt, the index of the task's template (0 if there is only one).
        roles: for each prompt, its roles as in `Pair`; empty if no prompt has any.
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
        """Rows whose counterfactual equals the prompt, ascending."""
        return (self.clean == self.corrupted).all(-1).nonzero().flatten().tolist()

    def to(self, device: torch.device) -> PromptSet:
        """Return the prompts on another device."""
        names = ("clean", "corrupted", "lengths", "answer_row", "answer_pos")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def pick_rows(prompts: PromptSet, rows: Sequence[int]) -> PromptSet:
    """Return the prompts at `rows`, at least one, in that order, with their answers.

    A row may be repeated.
    """
    at = torch.tensor(rows, device=prompts.clean.device)
    of_row: dict[int, list[int]] = {}
    for answer, row in enumerate(prompts.answer_row.tolist()):
        of_row.setdefault(row, []).append(answer)
    answers = [(new, answer) for new, row in enumerate(rows) for answer in of_row.get(row, ())]
    kept = [answer for _, answer in answers]
    return PromptSet(
        clean=prompts.clean[at],
        corrupted=prompts.corrupted[at],
        lengths=prompts.lengths[at],
        answer_row=torch.tensor([new for new, _ in answers], device=at.device),
        answer_pos=prompts.answer_pos[torch.tensor(kept, device=at.device)],
        correct=tuple(prompts.correct[answer] for answer in kept),
        incorrect=tuple(prompts.incorrect[answer] for answer in kept),
        clean_text=tuple(prompts.clean_text[row] for row in rows),
        corrupted_text=tuple(prompts.corrupted_text[row] for row in rows),
        template=tuple(prompts.template[row] for row in rows),
        roles=tuple(prompts.roles[row] for row in rows) if prompts.roles else (),
    )
