"""From a final residual stream to one number per state, oriented so that higher is worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.forward import logits_of
from acdc_pipeline.models.weights import TransformerWeights

# Logits in flight: a large vocabulary times many states would not fit into memory at once.
_CHUNK_BYTES = 32 * 2**20


@runtime_checkable
class Objective(Protocol):
    """What a search minimises."""

    def __call__(self, final: Float[Tensor, "state answer d_model"]) -> Float[Tensor, " state"]:
        """Mean over answers, in float64, higher is worse."""
        ...


@dataclass(frozen=True)
class LogprobObjective:
    """Any metric of log-probabilities at the answer positions.

    Args:
        weights: for the final norm and the unembedding.
        score: log-probabilities to one number per answer.
        sign: +1 where a higher score is worse, -1 where it is better.
        tokens: the tokens that `score` is given, normalised among themselves, where the metric
            depends on differences between them alone; None gives it the whole vocabulary.
        answer_weight: how much each answer counts, 1 in all; None means alike.
    """

    weights: TransformerWeights
    score: Callable[[Float[Tensor, "state answer vocab"]], Float[Tensor, "state answer"]]
    sign: float
    tokens: Int[Tensor, " token"] | None = None
    answer_weight: Float[Tensor, " answer"] | None = None

    def __call__(self, final: Float[Tensor, "state answer d_model"]) -> Float[Tensor, " state"]:
        n_tokens = self.weights.w_u.shape[1] if self.tokens is None else len(self.tokens)
        per_state = final.shape[1] * n_tokens * final.element_size()
        chunks = final.split(max(1, _CHUNK_BYTES // per_state))
        return torch.cat([self._of_chunk(chunk) for chunk in chunks])

    def _of_chunk(self, final: Float[Tensor, "state answer d_model"]) -> Float[Tensor, " state"]:
        logprobs = logits_of(self.weights, final, self.tokens).log_softmax(-1)
        return self.sign * mean_over_answers(self.score(logprobs), self.answer_weight)


def mean_over_answers(
    values: Float[Tensor, "state answer"], weight: Float[Tensor, " answer"] | None
) -> Float[Tensor, " state"]:
    """The mean of each state's answers in float64, weighted where they do not count alike."""
    wide = values.to(torch.float64)
    return wide.mean(-1) if weight is None else wide @ weight.to(torch.float64)
