"""Share of answers where the most likely token is a correct one."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def top_token_is_correct(
    logprobs: Float[Tensor, "*state answer vocab"], correct: Bool[Tensor, "answer vocab"]
) -> Float[Tensor, "*state answer"]:
    """1 where the most likely token of all is correct, else 0. Higher is better."""
    top = logprobs.argmax(-1, keepdim=True)
    hits = correct.expand(logprobs.shape).gather(-1, top).squeeze(-1)
    return hits.to(logprobs.dtype)
