"""Difference between the logits of the correct and the incorrect answers."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def logit_difference(
    logprobs: Float[Tensor, "*state answer vocab"],
    correct: Bool[Tensor, "answer vocab"],
    incorrect: Bool[Tensor, "answer vocab"],
) -> Float[Tensor, "*state answer"]:
    """Mean logit of the correct tokens less mean logit of the incorrect ones. Higher is better.

    Log-probabilities serve as logits, since the normaliser cancels (Wang et al. 2022,
    arXiv 2211.00593, section 2.2, for one token on either side).
    """
    return _mean_where(logprobs, correct) - _mean_where(logprobs, incorrect)


def _mean_where(
    values: Float[Tensor, "*state answer vocab"], chosen: Bool[Tensor, "answer vocab"]
) -> Float[Tensor, "*state answer"]:
    return values.masked_fill(~chosen, 0.0).sum(-1) / chosen.sum(-1)
