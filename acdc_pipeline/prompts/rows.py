"""Some of a set's prompts, or some of them more than once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from acdc_pipeline.prompts.prompt_set import PromptSet


def pick_rows(prompts: PromptSet, rows: Sequence[int]) -> PromptSet:
    """The prompts at `rows`, in that order, with their answers; a row may come several times.

    Args:
        prompts: what to pick from.
        rows: at least one.
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
