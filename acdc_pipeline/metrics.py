"""The metrics: how well a circuit reproduces the model, or answers the task.

One function for each, and its line in `METRICS`. All are computed from log-probabilities at the
positions where answers are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.specs.own_metric import Outputs


def kl_divergence(
    model_logprobs: Float[Tensor, "answer vocab"],
    circuit_logprobs: Float[Tensor, "*state answer vocab"],
) -> Float[Tensor, "*state answer"]:
    """KL(model ‖ circuit) per answer, in nats. Lower is better; 0 iff the outputs agree.

    The expectation is under the model (Conmy et al. 2023, arXiv 2304.14997, section 3).
    """
    difference = model_logprobs - circuit_logprobs
    return difference.mul_(model_logprobs.exp()).sum(-1)


def logit_difference(
    logprobs: Float[Tensor, "*state answer vocab"],
    correct: Bool[Tensor, "answer vocab"],
    incorrect: Bool[Tensor, "answer vocab"],
) -> Float[Tensor, "*state answer"]:
    """Mean logit of the correct tokens minus that of the incorrect ones. Higher is better.

    Computed from log-probabilities, since the normaliser cancels (Wang et al. 2022,
    arXiv 2211.00593, section 2.2, for one correct and one incorrect token).
    """
    return _mean_where(logprobs, correct) - _mean_where(logprobs, incorrect)


def probability_difference(
    logprobs: Float[Tensor, "*state answer vocab"],
    correct: Bool[Tensor, "answer vocab"],
    incorrect: Bool[Tensor, "answer vocab"],
) -> Float[Tensor, "*state answer"]:
    """Total probability of the correct tokens minus that of the incorrect ones. Higher is better.

    In [-1, 1] (Hanna et al. 2023, arXiv 2305.00586, section 3, for sets of years).
    """
    probs = logprobs.exp()
    return probs.masked_fill(~correct, 0.0).sum(-1) - probs.masked_fill(~incorrect, 0.0).sum(-1)


def negative_log_likelihood(
    logprobs: Float[Tensor, "*state answer vocab"], correct: Bool[Tensor, "answer vocab"]
) -> Float[Tensor, "*state answer"]:
    """-log of the total probability of the correct tokens, in nats. Lower is better, at least 0."""
    return -logprobs.masked_fill(~correct, float("-inf")).logsumexp(-1)


def matched_negative_log_likelihood(
    model_logprobs: Float[Tensor, "answer vocab"],
    circuit_logprobs: Float[Tensor, "*state answer vocab"],
    correct: Bool[Tensor, "answer vocab"],
) -> Float[Tensor, "*state answer"]:
    """Negative log-likelihood of the circuit minus that of the model, in nats. Lower is better.

    0 where the circuit gives the correct tokens the same probability as the model, negative where
    it gives them more. A search decides as with `nll`; the difference is that the model has the
    value 0 on every prompt. The metric `match_nll` in the code of Conmy et al. 2023
    (arXiv 2304.14997).
    """
    of_model = negative_log_likelihood(model_logprobs, correct)
    return negative_log_likelihood(circuit_logprobs, correct) - of_model


def top_token_is_correct(
    logprobs: Float[Tensor, "*state answer vocab"], correct: Bool[Tensor, "answer vocab"]
) -> Float[Tensor, "*state answer"]:
    """1 where the most likely token is correct, else 0. Higher is better."""
    top = logprobs.max(-1, keepdim=True).indices  # a third of the time of argmax
    hits = correct.expand(logprobs.shape).gather(-1, top).squeeze(-1)
    return hits.to(logprobs.dtype)


def correct_is_above_incorrect(
    logprobs: Float[Tensor, "*state answer vocab"],
    correct: Bool[Tensor, "answer vocab"],
    incorrect: Bool[Tensor, "answer vocab"],
) -> Float[Tensor, "*state answer"]:
    """1 where the likeliest correct token is likelier than every incorrect one, else 0.

    Higher is better; a tie is 0. Unlike in `accuracy`, tokens that are neither correct nor
    incorrect do not count: a model whose most likely token is " the" may still prefer the right
    name of two (Wang et al. 2022, arXiv 2211.00593, section 2.2, compare names so). Guessing gives
    c / (c + i) with c correct and i incorrect tokens.
    """
    return (_max_where(logprobs, correct) > _max_where(logprobs, incorrect)).to(logprobs.dtype)


def _mean_where(
    values: Float[Tensor, "*state answer vocab"], mask: Bool[Tensor, "answer vocab"]
) -> Float[Tensor, "*state answer"]:
    return values.masked_fill(~mask, 0.0).sum(-1) / mask.sum(-1)


def _max_where(
    values: Float[Tensor, "*state answer vocab"], mask: Bool[Tensor, "answer vocab"]
) -> Float[Tensor, "*state answer"]:
    return values.masked_fill(~mask, float("-inf")).amax(-1)


def token_mask(
    like: Float[Tensor, "answer vocab"], tokens: Sequence[Sequence[int]]
) -> Bool[Tensor, "answer vocab"]:
    """Mark the tokens of each answer; `like` has the shape and device of the result."""
    mask = torch.zeros_like(like, dtype=torch.bool)
    rows = [row for row, ids in enumerate(tokens) for _ in ids]
    columns = [token for ids in tokens for token in ids]
    mask[torch.tensor(rows, dtype=torch.long), torch.tensor(columns, dtype=torch.long)] = True
    return mask


@dataclass(frozen=True)
class MetricInputs:
    """The inputs of every metric: log-probabilities, or logits for a metric that reads them.

    Args:
        model: those of the whole model at the answers.
        circuit: those of the circuits at the answers.
        correct: which tokens count as correct.
        incorrect: which tokens count as incorrect.
    """

    model: Float[Tensor, "answer vocab"]
    circuit: Float[Tensor, "*state answer vocab"]
    correct: Bool[Tensor, "answer vocab"]
    incorrect: Bool[Tensor, "answer vocab"]

    def of_tokens(self, tokens: Int[Tensor, " token"]) -> MetricInputs:
        """The same for some tokens of the vocabulary, in their order."""
        every = (self.model, self.circuit, self.correct, self.incorrect)
        return MetricInputs(*(values[..., tokens] for values in every))


@dataclass(frozen=True)
class MetricAnswers:
    """What a metric of one's own receives beside the logits; see `specs.own_metric.Metric`.

    Args:
        correct: which tokens count as correct.
        incorrect: which tokens count as incorrect.
        model: log-probabilities, or logits, of the whole model at the answers.
    """

    correct: Bool[Tensor, "answer vocab"]
    incorrect: Bool[Tensor, "answer vocab"]
    model: Float[Tensor, "answer vocab"]


@dataclass(frozen=True)
class Metric:
    """A metric: one number per answer.

    Args:
        score: the function that computes it.
        higher_is: whether a higher value is better or worse.
        needs_incorrect: whether it is undefined for answers without incorrect tokens.
        depends_on: `answers` where the logits of the correct and incorrect tokens suffice, since
            the normaliser cancels.
        reads: whether `MetricInputs` have to hold log-probabilities or logits.
    """

    score: Callable[[MetricInputs], Float[Tensor, "*state answer"]]
    higher_is: Literal["better", "worse"]
    needs_incorrect: bool
    depends_on: Literal["answers", "vocabulary"] = "vocabulary"
    reads: Outputs = "logprobs"

    @property
    def sign(self) -> float:
        """The factor that orients the metric so that higher is worse."""
        return 1.0 if self.higher_is == "worse" else -1.0


METRICS: Mapping[str, Metric] = {
    "kl": Metric(lambda i: kl_divergence(i.model, i.circuit), "worse", False),
    "logit_diff": Metric(
        lambda i: logit_difference(i.circuit, i.correct, i.incorrect), "better", True, "answers"
    ),
    "prob_diff": Metric(
        lambda i: probability_difference(i.circuit, i.correct, i.incorrect), "better", True
    ),
    "nll": Metric(lambda i: negative_log_likelihood(i.circuit, i.correct), "worse", False),
    "match_nll": Metric(
        lambda i: matched_negative_log_likelihood(i.model, i.circuit, i.correct), "worse", False
    ),
    "accuracy": Metric(lambda i: top_token_is_correct(i.circuit, i.correct), "better", False),
    "forced_choice": Metric(
        lambda i: correct_is_above_incorrect(i.circuit, i.correct, i.incorrect), "better", True
    ),
}
"""Every built-in metric by name."""
