"""Where a prompt holds its own answers: the indirect object and the second subject of IOI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs import TaskSpec, TemplateGenerator


@dataclass(frozen=True)
class AnswerPlaces:
    """Positions before or at each answer's own.

    Args:
        answer: where a correct token stands (IO).
        repeat: the last place of an incorrect token that stands at two or more (S2).
    """

    answer: Bool[Tensor, "answer pos"]
    repeat: Bool[Tensor, "answer pos"]


def answer_places(prompts: PromptSet) -> AnswerPlaces:
    """The places of all answers of `prompts`, found by their tokens."""
    rows = prompts.clean[prompts.answer_row]
    at = torch.arange(rows.shape[1], device=rows.device)
    before = at[None] <= prompts.answer_pos[:, None]
    right = _stands(rows, prompts.correct) & before
    repeat = torch.zeros_like(right)
    for token in range(max((len(ids) for ids in prompts.incorrect), default=0)):
        one = [ids[token : token + 1] for ids in prompts.incorrect]
        here = _stands(rows, one) & before
        twice = here.sum(-1) >= 2
        last = torch.where(here, at, -1).amax(-1)
        repeat |= (at[None] == last[:, None]) & twice[:, None]
    return AnswerPlaces(right, repeat)


def is_ioi_like(task: TaskSpec) -> bool:
    """Whether the task's roles make one name the answer because the other is said twice.

    So in IOI: of two slots of one list, `S` is the incorrect answer, stands in every template, and
    `IO`, the one it is not, is the correct one.
    """
    generator = task.generator
    if not isinstance(generator, TemplateGenerator) or task.answers is None:
        return False
    if generator.choice is None:
        return False
    chosen, other = generator.chosen_role, generator.other_role
    return (
        task.answers.correct == (f"{{{other}}}",)
        and task.answers.incorrect == (f"{{{chosen}}}",)
        and all(f"{{{chosen}}}" in template for template in generator.templates)
    )


def rows_of(prompts: PromptSet, rows: slice) -> tuple[PromptSet, Int[Tensor, " answer"]]:
    """Some prompts with their answers, and which of all answers those are."""
    inside = (prompts.answer_row >= rows.start) & (prompts.answer_row < rows.stop)
    answers = inside.nonzero().flatten()
    listed = answers.tolist()
    part = replace(
        prompts,
        clean=prompts.clean[rows],
        corrupted=prompts.corrupted[rows],
        lengths=prompts.lengths[rows],
        answer_row=prompts.answer_row[answers] - rows.start,
        answer_pos=prompts.answer_pos[answers],
        correct=tuple(prompts.correct[i] for i in listed),
        incorrect=tuple(prompts.incorrect[i] for i in listed),
        clean_text=prompts.clean_text[rows],
        corrupted_text=prompts.corrupted_text[rows],
        template=prompts.template[rows],
    )
    return part, answers


def _stands(
    rows: Int[Tensor, "answer pos"], tokens: Sequence[Sequence[int]]
) -> Bool[Tensor, "answer pos"]:
    """Where each row holds one of its tokens."""
    found = torch.zeros_like(rows, dtype=torch.bool)
    for index, ids in enumerate(tokens):
        if ids:
            found[index] = torch.isin(rows[index], torch.tensor(list(ids), device=rows.device))
    return found
