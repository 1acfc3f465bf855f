"""Difference between the probabilities of the correct and the incorrect answers."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def probability_difference(
    logprobs: Float[Tensor, "*state answer vocab"],
    correct: Bool[Tensor, "answer vocab"],
    incorrect: Bool[Tensor, "answer vocab"],
) -> Float[Tensor, "*state answer"]:
    """Total probability of the correct tokens less that of the incorrect ones. Higher is better.

    In [-1, 1] (Hanna et al. 2023, arXiv 2305.00586, section 3, for sets of years).
    """
    probs = logprobs.exp()
    return probs.masked_fill(~correct, 0.0).sum(-1) - probs.masked_fill(~incorrect, 0.0).sum(-1)
