"""Negative log-likelihood of the correct answers."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def negative_log_likelihood(
    logprobs: Float[Tensor, "*state answer vocab"], correct: Bool[Tensor, "answer vocab"]
) -> Float[Tensor, "*state answer"]:
    """-log of the total probability of the correct tokens, in nats. Lower is better, at least 0."""
    return -logprobs.masked_fill(~correct, float("-inf")).logsumexp(-1)
