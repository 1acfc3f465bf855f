"""Share of answers where a correct token is above every incorrect one."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def correct_is_above_incorrect(
    logprobs: Float[Tensor, "*state answer vocab"],
    correct: Bool[Tensor, "answer vocab"],
    incorrect: Bool[Tensor, "answer vocab"],
) -> Float[Tensor, "*state answer"]:
    """1 where the likeliest correct token is likelier than every incorrect one, else 0.

    Higher is better; a tie is 0. Tokens that are neither correct nor incorrect do not count, which
    is what `accuracy` does: a model that would rather say " the" than any name may still choose
    the right name of two (Wang et al. 2022, arXiv 2211.00593, section 2.2, compare names so).
    Guessing gives c / (c + i) with c correct and i incorrect tokens.
    """
    return (_highest(logprobs, correct) > _highest(logprobs, incorrect)).to(logprobs.dtype)


def _highest(
    values: Float[Tensor, "*state answer vocab"], chosen: Bool[Tensor, "answer vocab"]
) -> Float[Tensor, "*state answer"]:
    return values.masked_fill(~chosen, float("-inf")).amax(-1)
