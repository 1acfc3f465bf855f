"""Objectives: from a final residual stream to one number per state. Higher is worse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.components import normalise, soft_cap_change, widen
from acdc_pipeline.engine.forward import unembed
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.own_metric import Outputs

# Logits in flight: a large vocabulary times many states would not fit into memory at once.
_CHUNK_BYTES = 32 * 2**20


@runtime_checkable
class Objective(Protocol):
    """A measure of how much worse a circuit is than the whole model."""

    def __call__(self, final: Float[Tensor, "state answer d_model"]) -> Float[Tensor, " state"]:
        """Mean over answers, in float64, higher is worse."""
        ...


@dataclass(frozen=True)
class LogprobObjective:
    """A metric of log-probabilities, or logits, at the answer positions.

    Args:
        score: the metric of each answer, from what it `reads`.
        sign: +1 where a higher score is worse, -1 where it is better.
        tokens: the tokens that `score` receives, normalised among themselves, for metrics that
            depend on differences between them alone; None means the whole vocabulary.
        answer_weight: the weight of each answer, 1 in total; None means equal.
        reads: whether `score` receives log-probabilities or logits.
    """

    weights: TransformerWeights
    score: Callable[[Float[Tensor, "state answer vocab"]], Float[Tensor, "state answer"]]
    sign: float
    tokens: Int[Tensor, " token"] | None = None
    answer_weight: Float[Tensor, " answer"] | None = None
    reads: Outputs = "logprobs"

    def __call__(self, final: Float[Tensor, "state answer d_model"]) -> Float[Tensor, " state"]:
        means = (mean_over_answers(self.score(x), self.answer_weight) for x in self._read(final))
        return torch.cat([self.sign * mean for mean in means])

    def per_answer(
        self, final: Float[Tensor, "state answer d_model"]
    ) -> Float[Tensor, "state answer"]:
        """The metric of each answer, higher is worse; of each prompt with whole answers."""
        return torch.cat([self.sign * self.score(outputs) for outputs in self._read(final)])

    def _read(
        self, final: Float[Tensor, "state answer d_model"]
    ) -> Iterator[Float[Tensor, "some answer vocab"]]:
        """What `score` reads, for some states after others."""
        n_tokens = self.weights.w_u.shape[1] if self.tokens is None else len(self.tokens)
        per_state = final.shape[1] * n_tokens * final.element_size()
        for chunk in final.split(max(1, _CHUNK_BYTES // per_state)):
            outputs = unembed(self.weights, chunk, self.tokens)
            yield outputs.log_softmax(-1) if self.reads == "logprobs" else outputs


def mean_over_answers(
    values: Float[Tensor, "state answer"], weight: Float[Tensor, " answer"] | None
) -> Float[Tensor, " state"]:
    """The mean over each state's answers in float64, weighted unless `weight` is None."""
    wide = values.to(torch.float64)
    return wide.mean(-1) if weight is None else wide @ weight.to(torch.float64)


# The vocabulary is processed in tiles, for the answers of several states together: each column of
# W_U is read from memory once for all of them, and their logits stay in the cache.
_ROWS = 512
_TILE_BYTES = 2**20
_LEAST_WIDTH = 256

# Below it, log1p(sum) would more than double the rounding error of the sum.
_LEAST_SUM = -0.5


class KlObjective:
    """Mean KL(model ‖ circuit) over answers, in nats. Lower is better; 0 for the whole model.

    The metric of Conmy et al. 2023 (arXiv 2304.14997), section 3, computed without forming
    log-probabilities. With p the model's distribution, d the circuit's logits minus the model's,
    and Δx the change of the normalised stream,

        KL = log Σ p·exp(d) − Σ p·d = log1p(Σ p·expm1(d)) − (p W_Uᵀ)·Δx.

    Small divergences come out of small numbers, so float32 resolves them to about 1e-9, where a
    difference of log-probabilities loses them below 1e-6; and the vocabulary is touched by a
    single product with W_U. Where logits pass a soft cap, it is applied to that product, and the
    mean of d is taken over the vocabulary.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        final: Float[Tensor, "answer d_model"],
        logprobs: Float[Tensor, "answer vocab"],
        answer_weight: Float[Tensor, " answer"] | None = None,
    ) -> None:
        self.weights = weights
        self.base = normalise(final, weights.norm_final)
        self.logprobs = logprobs
        self.answer_weight = answer_weight
        self.probs = logprobs.exp()
        self.mean_direction = self.probs @ widen(weights.w_u, self.probs).T
        uncapped = replace(weights, logit_cap=None)
        self.logits = None if weights.logit_cap is None else unembed(uncapped, final)

    def __call__(self, final: Float[Tensor, "state answer d_model"]) -> Float[Tensor, " state"]:
        return mean_over_answers(self.per_answer(final), self.answer_weight)

    def per_answer(
        self, final: Float[Tensor, "state answer d_model"]
    ) -> Float[Tensor, "state answer"]:
        """The KL of each answer."""
        n_answers = final.shape[1]
        at_once = max(1, _ROWS // n_answers)
        return torch.cat([self._divergence(chunk) for chunk in final.split(at_once)])

    def _divergence(
        self, final: Float[Tensor, "state answer d_model"]
    ) -> Float[Tensor, "state answer"]:
        change = normalise(final, self.weights.norm_final) - self.base
        w_u, cap = self.weights.w_u, self.weights.logit_cap
        weighted = change.new_zeros(change.shape[:2], dtype=torch.float64)
        total, mean = torch.zeros_like(weighted), torch.zeros_like(weighted)
        width = max(_LEAST_WIDTH, _TILE_BYTES // (change[..., 0].nbytes))
        for start in range(0, w_u.shape[1], width):
            tile = slice(start, start + width)
            d = torch.matmul(change, widen(w_u[:, tile], change))
            if cap is not None and self.logits is not None:
                d = soft_cap_change(self.logits[:, tile], d, cap)
                mean += (self.probs[:, tile] * d).sum(-1)
            weighted += torch.expm1(d).mul_(self.probs[:, tile]).sum(-1)
            total += torch.exp(d).mul_(self.probs[:, tile]).sum(-1)
        if cap is None:
            mean = (change * self.mean_direction).sum(-1)
        # log Σ p·exp(d), the growth of the normaliser: from Σ p·expm1(d), or from Σ p·exp(d) where
        # the former is near -1 and has lost its digits: the model is confident and its top token
        # falls far.
        growth = torch.where(weighted < _LEAST_SUM, total.log(), torch.log1p(weighted))
        growth = growth.to(change.dtype)
        # Beyond some ninety logits exp(d) overflows. The divergence is large there, and the
        # direct formula exact enough.
        overflowed = ~torch.isfinite(growth)
        if bool(overflowed.any()):
            _, answer = overflowed.nonzero(as_tuple=True)
            d = change[overflowed] @ widen(self.weights.w_u, change)
            if self.weights.logit_cap is not None and self.logits is not None:
                d = soft_cap_change(self.logits[answer], d, self.weights.logit_cap)
            growth[overflowed] = (d + self.logprobs[answer]).logsumexp(-1)
        return growth - mean.to(change.dtype)
