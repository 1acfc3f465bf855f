"""The answer's logit, and what any part of the residual stream adds to it directly.

With the scale of the final norm frozen, logits are linear in what is written into the stream, so a
direct effect is one dot product with a vector per answer (Elhage et al. 2021, "A Mathematical
Framework for Transformer Circuits": direct logit attribution).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.components import normalise, widen
from acdc_pipeline.models.weights import Norm, TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs import TaskSpec, TemplateGenerator

# Columns of the unembedding that are averaged at once.
_COLUMNS = 8192


CLEAR = 3.0
"""Standard errors that a mean answer logit has to be above zero for a model to answer at all."""


@dataclass(frozen=True)
class MeanLogit:
    """The whole model's answer logit over many answers.

    Args:
        mean: over answers.
        error: standard error of the mean; 0 of a single answer.
    """

    mean: float
    error: float

    @classmethod
    def of(cls, logits: Float[Tensor, " answer"]) -> MeanLogit:
        """Mean and standard error of at least one answer logit."""
        values = logits.cpu().to(torch.float64)
        error = float(values.std()) / len(values) ** 0.5 if len(values) > 1 else 0.0
        return cls(float(values.mean()), error)

    @property
    def shared(self) -> float:
        """What heads can have a share of: the mean, and 0 where it may as well be chance.

        A model of random weights has a mean answer logit too, near zero, of either sign, and its
        heads have large shares of it.
        """
        return self.mean if self.mean > CLEAR * self.error else 0.0


@dataclass(frozen=True)
class AnswerLogit:
    """The answer logit: correct less incorrect, before any soft cap.

    Args:
        norm: the final norm.
        direction: for each answer, the mean unembedding of the correct tokens, less that of the
            incorrect ones.
        bias: the same of the unembedding's bias.
    """

    norm: Norm
    direction: Float[Tensor, "answer d_model"]
    bias: Float[Tensor, " answer"]

    def of(self, final: Float[Tensor, "*state answer d_model"]) -> Float[Tensor, "*state answer"]:
        """The answer logit of final residual streams. Higher is better."""
        return (normalise(final, self.norm) * self.direction).sum(-1) + self.bias

    def direct(self, final: Float[Tensor, "answer d_model"]) -> Float[Tensor, "answer d_model"]:
        """The vectors g with: a part x of the stream adds x·g to the answer logit, directly.

        `final` is the residual stream whose norm scale is kept frozen. Biases of the norm and of
        the unembedding are no part of the stream, and in no g.
        """
        return frozen_gradient(final, self.norm, self.direction)


def frozen_gradient(
    final: Float[Tensor, "*rows d_model"],
    norm: Norm,
    direction: Float[Tensor, "*lead d_model"],
) -> Float[Tensor, "*lead d_model"]:
    """What takes a part of `final` to its share of `normalise(final)·direction`, scale frozen.

    `rows` are the last axes of `lead`.
    """
    return unscaled_gradient(norm, direction) * frozen_scale(final, norm)[..., None]


def unscaled_gradient(
    norm: Norm, direction: Float[Tensor, "*lead d_model"]
) -> Float[Tensor, "*lead d_model"]:
    """`frozen_gradient` but for the factor that the final stream decides."""
    if norm.kind == "none":
        return direction
    weighted = direction if norm.weight is None else direction * norm.weight
    if norm.kind == "layer":
        return weighted - weighted.mean(dim=-1, keepdim=True)
    return weighted


def frozen_scale(final: Float[Tensor, "*rows d_model"], norm: Norm) -> Float[Tensor, "*rows"]:
    """What the final norm multiplies each row by, weights aside."""
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

    Where an answer has no incorrect tokens, the mean over the vocabulary takes their place.
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
    """Directions of the logits of `tokens`, less the mean over the vocabulary."""
    centre, _ = mean_unembedding(weights)
    columns = weights.w_u.index_select(1, tokens.flatten()).T.to(weights.dtype)
    return columns.reshape(*tokens.shape, -1) - centre


def mean_unembedding(
    weights: TransformerWeights,
) -> tuple[Float[Tensor, " d_model"], Float[Tensor, ""]]:
    """The mean column of the unembedding, and the mean of its bias."""
    vocab = weights.w_u.shape[1]
    total = torch.zeros(weights.d_model, dtype=weights.dtype, device=weights.device)
    for columns in weights.w_u.split(_COLUMNS, dim=1):
        total += widen(columns, total).sum(1)
    bias = torch.zeros((), dtype=weights.dtype, device=weights.device)
    return total / vocab, bias if weights.b_u is None else weights.b_u.to(weights.dtype).mean()


def _means(
    weights: TransformerWeights, tokens: Sequence[Sequence[int]]
) -> tuple[Float[Tensor, "answer d_model"], Float[Tensor, " answer"]]:
    """Mean unembedding of each set of tokens, and mean bias."""
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
