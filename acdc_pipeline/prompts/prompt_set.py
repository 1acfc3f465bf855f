"""Aligned prompt pairs as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from acdc_pipeline.prompts.spans import Spans


@dataclass(frozen=True)
class WholeAnswers:
    """Answers of several tokens: each row of a prompt set is a prompt that one answer follows.

    The model reads the answer's own tokens (teacher forcing), and every token of it is predicted at
    a position of that row.

    Args:
        question: for each row, the number of its prompt, from 0; rows of a prompt are neighbours.
        correct: for each row, whether its answer is correct.
    """

    question: tuple[int, ...]
    correct: tuple[bool, ...]

    def __len__(self) -> int:
        """The number of prompts."""
        return self.question[-1] + 1


@dataclass(frozen=True)
class PromptSet:
    """Clean prompts, their counterfactuals, and their answers.

    Prompts are padded on the right; under causal attention padding never reaches an answer.

    Args:
        clean: token ids.
        corrupted: token ids of the counterfactuals; row i has the length of clean row i, unless
            `counterpart` is given.
        lengths: number of tokens of each prompt without padding.
        answer_row: for each answer, the prompt it belongs to.
        answer_pos: for each answer, the position whose logits predict it.
        correct: for each answer, the token ids that count as correct (at least one).
        incorrect: for each answer, the token ids that count as incorrect (may be empty).
        clean_text: texts of the clean prompts.
        corrupted_text: texts of the counterfactuals.
        template: for each prompt, the index of the task's template (0 if there is only one).
        roles: for each prompt, its roles as in `Pair`; empty if no prompt has any.
        counterpart: for each clean position, the position of the counterfactual that corresponds;
            0 at padding. None where all correspond in their order.
        whole: the answers, where they may have several tokens. `correct` then holds the token that
            each position predicts, of correct and incorrect answers alike.
        spans: the span of every token, for graphs with positions.
    """

    clean: Int[Tensor, "batch pos"]
    corrupted: Int[Tensor, "batch corrupted_pos"]
    lengths: Int[Tensor, " batch"]
    answer_row: Int[Tensor, " answer"]
    answer_pos: Int[Tensor, " answer"]
    correct: tuple[tuple[int, ...], ...]
    incorrect: tuple[tuple[int, ...], ...]
    clean_text: tuple[str, ...]
    corrupted_text: tuple[str, ...]
    template: tuple[int, ...]
    roles: tuple[tuple[str, ...], ...] = ()
    counterpart: Int[Tensor, "batch pos"] | None = None
    whole: WholeAnswers | None = None
    spans: Spans | None = None

    def __len__(self) -> int:
        return self.clean.shape[0]

    @property
    def n_prompts(self) -> int:
        """The number of prompts: that of rows, unless several answers continue a prompt."""
        return len(self) if self.whole is None else len(self.whole)

    @property
    def aligned(self) -> Int[Tensor, "batch pos"]:
        """The token of the counterfactual that corresponds to each clean one."""
        if self.counterpart is None:
            return self.corrupted
        return self.corrupted.gather(1, self.counterpart)

    @property
    def prompts_with_equal_sides(self) -> list[int]:
        """Numbers of the prompts whose counterfactual equals them, ascending."""
        same = self.clean == self.aligned
        if self.counterpart is not None:
            positions = torch.arange(self.clean.shape[1], device=self.clean.device)
            same &= self.counterpart == positions
            same |= positions >= self.lengths[:, None]
        rows = same.all(-1).nonzero().flatten().tolist()
        return rows if self.whole is None else sorted({self.whole.question[row] for row in rows})

    def to(self, device: torch.device) -> PromptSet:
        """Return the prompts on another device."""
        names = ("clean", "corrupted", "lengths", "answer_row", "answer_pos")
        moved = {name: getattr(self, name).to(device) for name in names}
        if self.counterpart is not None:
            moved["counterpart"] = self.counterpart.to(device)
        spans = None if self.spans is None else self.spans.to(device)
        return replace(self, **moved, spans=spans)


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
        counterpart=None if prompts.counterpart is None else prompts.counterpart[at],
        whole=None if prompts.whole is None else _pick_answers(prompts.whole, rows),
        spans=None if prompts.spans is None else prompts.spans.pick_rows(at),
    )


def pick_prompts(prompts: PromptSet, numbers: Sequence[int]) -> PromptSet:
    """Return the prompts of these numbers, at least one, in that order; one may be repeated."""
    if prompts.whole is None:
        return pick_rows(prompts, numbers)
    rows_of: dict[int, list[int]] = {}
    for row, question in enumerate(prompts.whole.question):
        rows_of.setdefault(question, []).append(row)
    return pick_rows(prompts, [row for number in numbers for row in rows_of[number]])


def _pick_answers(whole: WholeAnswers, rows: Sequence[int]) -> WholeAnswers:
    """Return the answers of `rows`; a prompt that is repeated counts again."""
    question: list[int] = []
    seen: set[int] = set()
    for previous, row in zip([None, *rows], rows, strict=False):
        new = previous is None or whole.question[previous] != whole.question[row] or row in seen
        seen = {row} if new else seen | {row}
        question.append((question[-1] if question else -1) + int(new))
    return WholeAnswers(tuple(question), tuple(whole.correct[row] for row in rows))
