"""The answers of prompts: their logits, direct effects on these, and their positions in the prompt.

With the scale of the final norm frozen, logits are linear in the residual stream, so a direct
effect is one dot product with a vector per answer (Elhage et al. 2021, "A Mathematical Framework
for Transformer Circuits": direct logit attribution).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.components import normalise, widen
from acdc_pipeline.heads.folded import fold_norm
from acdc_pipeline.models.weights import Norm, TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.prompt_set import pick_rows
from acdc_pipeline.specs import TaskSpec, TemplateGenerator

# Columns of the unembedding that are averaged at once.
_COLUMNS = 8192

LEAST_IN_ORDER = 2
"""The fewest answers before wrong ones, and the fewest after, for a score of each order."""

SIGNIFICANT = 3.0
"""Number of standard errors above zero at which a mean answer logit counts as significant."""


@dataclass(frozen=True)
class MeanLogit:
    """The whole model's answer logit over many answers.

    Args:
        error: standard error of the mean; 0 for a single answer.
    """

    mean: float
    error: float

    @classmethod
    def of(cls, logits: Float[Tensor, " answer"]) -> MeanLogit:
        """The mean and standard error of at least one answer logit."""
        values = logits.cpu().to(torch.float64)
        error = float(values.std()) / len(values) ** 0.5 if len(values) > 1 else 0.0
        return cls(float(values.mean()), error)

    @property
    def significant(self) -> float:
        """The mean, or 0 where it is not significantly positive.

        Scores of heads are compared with it as shares. A model of random weights has a mean answer
        logit near zero, of either sign, and its heads would have large shares of it.
        """
        return self.mean if self.mean > SIGNIFICANT * self.error else 0.0


@dataclass(frozen=True)
class AnswerLogit:
    """The answer logit: mean of the correct tokens minus mean of the incorrect ones, uncapped.

    Args:
        direction: for each answer, the mean unembedding of the correct tokens, minus that of the
            incorrect ones.
        bias: the same difference of the unembedding's biases.
    """

    norm: Norm
    direction: Float[Tensor, "answer d_model"]
    bias: Float[Tensor, " answer"]

    def of(self, final: Float[Tensor, "*state answer d_model"]) -> Float[Tensor, "*state answer"]:
        """The answer logits of final residual streams. Higher is better."""
        return (normalise(final, self.norm) * self.direction).sum(-1) + self.bias

    def gradient(self, final: Float[Tensor, "answer d_model"]) -> Float[Tensor, "answer d_model"]:
        """The vectors g such that a part x of the stream adds x·g to the answer logit directly.

        The scale of the final norm is frozen at that of `final`. Biases of the norm and of the
        unembedding are not part of the stream, and not attributed.
        """
        return frozen_gradient(final, self.norm, self.direction)

    def select(self, which: Int[Tensor, " some"]) -> AnswerLogit:
        """The answer logits of some answers."""
        return AnswerLogit(self.norm, self.direction[which], self.bias[which])


def frozen_gradient(
    final: Float[Tensor, "*rows d_model"],
    norm: Norm,
    direction: Float[Tensor, "*lead d_model"],
) -> Float[Tensor, "*lead d_model"]:
    """The gradient of `normalise(final)·direction` by `final`, with the norm's scale frozen.

    `rows` are the last axes of `lead`.
    """
    return fold_norm(direction, norm, dim=-1) * frozen_scale(final, norm)[..., None]


def frozen_scale(final: Float[Tensor, "*rows d_model"], norm: Norm) -> Float[Tensor, "*rows"]:
    """The factor by which the final norm scales each row, before its weights."""
    if norm.kind == "none":
        return torch.ones_like(final[..., 0])
    if norm.kind == "layer":
        return torch.rsqrt(final.var(dim=-1, correction=0) + norm.eps)
    return torch.rsqrt(final.square().mean(dim=-1) + norm.eps)


def answer_logit(
    weights: TransformerWeights,
    correct: Sequence[Sequence[int]],
    incorrect: Sequence[Sequence[int]],
) -> AnswerLogit:
    """The answer logit of answers with these tokens.

    The mean over the vocabulary replaces the incorrect tokens of an answer that has none.
    """
    centre, centre_bias = mean_unembedding(weights)
    right, right_bias = _means(weights, correct)
    wrong, wrong_bias = _means(weights, [ids or [0] for ids in incorrect])
    without = torch.tensor([not ids for ids in incorrect], device=weights.device)
    wrong = torch.where(without[:, None], centre, wrong)
    wrong_bias = torch.where(without, centre_bias, wrong_bias)
    return AnswerLogit(weights.norm_final, right - wrong, right_bias - wrong_bias)


def token_logit(
    weights: TransformerWeights, tokens: Int[Tensor, "*rows"]
) -> Float[Tensor, "*rows d_model"]:
    """The unembeddings of `tokens`, minus the mean over the vocabulary."""
    centre, _ = mean_unembedding(weights)
    columns = weights.w_u.index_select(1, tokens.flatten()).T.to(weights.dtype)
    return columns.reshape(*tokens.shape, -1) - centre


def mean_unembedding(
    weights: TransformerWeights,
) -> tuple[Float[Tensor, " d_model"], Float[Tensor, ""]]:
    """The mean column of the unembedding, and the mean of its biases."""
    vocab = weights.w_u.shape[1]
    total = torch.zeros(weights.d_model, dtype=weights.dtype, device=weights.device)
    for columns in weights.w_u.split(_COLUMNS, dim=1):
        total += widen(columns, total).sum(1)
    bias = torch.zeros((), dtype=weights.dtype, device=weights.device)
    return total / vocab, bias if weights.b_u is None else weights.b_u.to(weights.dtype).mean()


def _means(
    weights: TransformerWeights, tokens: Sequence[Sequence[int]]
) -> tuple[Float[Tensor, "answer d_model"], Float[Tensor, " answer"]]:
    """The mean unembedding of each set of tokens, and the mean bias."""
    counts = torch.tensor([len(ids) for ids in tokens], device=weights.device)
    flat = torch.tensor([token for ids in tokens for token in ids], device=weights.device)
    owner = torch.arange(len(tokens), device=weights.device).repeat_interleave(counts)
    columns = weights.w_u.index_select(1, flat).T.to(weights.dtype)
    share = counts.to(weights.dtype)
    sums = torch.zeros(len(tokens), weights.d_model, dtype=weights.dtype, device=weights.device)
    means = sums.index_add_(0, owner, columns) / share[:, None]
    biases = torch.zeros(len(tokens), dtype=weights.dtype, device=weights.device)
    if weights.b_u is not None:
        biases.index_add_(0, owner, weights.b_u[flat].to(weights.dtype))
    return means, biases / share


@dataclass(frozen=True)
class AnswerPositions:
    """Positions of answer tokens within the prompt, up to where the answer is read.

    Args:
        answer: where a correct token occurs (IO).
        repeat: the last occurrence of an incorrect token that occurs at least twice (S2).
        before: whether a correct token occurs before any incorrect one; False without either.
        after: whether an incorrect token occurs before any correct one; False without either.
    """

    answer: Bool[Tensor, "answer pos"]
    repeat: Bool[Tensor, "answer pos"]
    before: Bool[Tensor, " answer"]
    after: Bool[Tensor, " answer"]


def find_answer_positions(prompts: PromptSet) -> AnswerPositions:
    """Find the tokens of all answers in their prompts."""
    rows = prompts.clean[prompts.answer_row]
    at = torch.arange(rows.shape[1], device=rows.device)
    read = at[None] <= prompts.answer_pos[:, None]
    right = _occurrences(rows, prompts.correct) & read
    wrong = _occurrences(rows, prompts.incorrect) & read
    repeat = torch.zeros_like(right)
    for token in range(max((len(ids) for ids in prompts.incorrect), default=0)):
        one = [ids[token : token + 1] for ids in prompts.incorrect]
        here = _occurrences(rows, one) & read
        twice = here.sum(-1) >= 2
        last = torch.where(here, at, -1).amax(-1)
        repeat |= (at[None] == last[:, None]) & twice[:, None]
    end = rows.shape[1]
    first, other = (torch.where(where, at, end).amin(-1) for where in (right, wrong))
    both = right.any(-1) & wrong.any(-1)
    return AnswerPositions(right, repeat, both & (first < other), both & (other < first))


def attention_by_order(
    arrays: Mapping[str, Float64[np.ndarray, "_ layer head"]], places: AnswerPositions
) -> dict[str, Float64[np.ndarray, "_ layer head"]]:
    """Return attention to the answers that come before wrong ones, and to those that come after.

    Empty unless each order has `LEAST_IN_ORDER` answers: otherwise the prompts do not tell a head
    that looks at the answer from one that looks at a place.

    Args:
        arrays: scores by name, a row for each answer that occurs in its prompt.
        places: of all answers.
    """
    has = places.answer.any(-1)
    orders = {
        f"attention_to_answer_{name}": order[has].cpu().numpy()
        for name, order in (("before", places.before), ("after", places.after))
    }
    if any(order.sum() < LEAST_IN_ORDER for order in orders.values()):
        return {}
    return {name: arrays["attention_to_answer"][order] for name, order in orders.items()}


def is_ioi_like(task: TaskSpec) -> bool:
    """Whether the answer is one of two names, and the other occurs in every template.

    As in IOI: of two slots filled from one list, `IO` is the correct answer, and `S`, the incorrect
    one, occurs in every template.
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


def select_prompts(prompts: PromptSet, rows: slice) -> tuple[PromptSet, Int[Tensor, " answer"]]:
    """Some prompts with their answers, and the indices of these among all answers."""
    inside = (prompts.answer_row >= rows.start) & (prompts.answer_row < rows.stop)
    answers = inside.nonzero().flatten()
    by_row = prompts.answer_row[answers].argsort(stable=True)
    return pick_rows(prompts, range(rows.start, rows.stop)), answers[by_row]


def _occurrences(
    rows: Int[Tensor, "answer pos"], tokens: Sequence[Sequence[int]]
) -> Bool[Tensor, "answer pos"]:
    """Where each row contains one of its tokens."""
    found = torch.zeros_like(rows, dtype=torch.bool)
    for index, ids in enumerate(tokens):
        if ids:
            found[index] = torch.isin(rows[index], torch.tensor(list(ids), device=rows.device))
    return found
