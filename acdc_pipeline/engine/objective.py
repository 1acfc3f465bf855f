"""From a final residual stream to one number per state, oriented so that higher is worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.forward import logits_of
from acdc_pipeline.models.weights import TransformerWeights


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
    """

    weights: TransformerWeights
    score: Callable[[Float[Tensor, "state answer vocab"]], Float[Tensor, "state answer"]]
    sign: float

    def __call__(self, final: Float[Tensor, "state answer d_model"]) -> Float[Tensor, " state"]:
        logprobs = logits_of(self.weights, final).log_softmax(-1)
        return self.sign * self.score(logprobs).to(torch.float64).mean(-1)
