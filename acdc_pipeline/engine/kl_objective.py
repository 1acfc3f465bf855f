"""KL(model ‖ circuit) of a final residual stream, without ever forming log-probabilities.

With p the model's distribution, and d the circuit's logits minus the model's,

    KL = log Σ p·exp(d) − Σ p·d = log1p(Σ p·expm1(d)) − (p W_Uᵀ)·Δx,

where Δx is the change of the normalised stream. Small divergences come out of small numbers, so
float32 resolves them to about 1e-9 where a difference of log-probabilities is lost in 1e-6; and
one product with W_U is all that touches the vocabulary. Where logits pass a soft cap, d is what
the cap makes of that product, and its mean is taken over the vocabulary.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.components import capped_change, normalise, widened
from acdc_pipeline.engine.forward import logits_of
from acdc_pipeline.engine.objective import mean_over_answers
from acdc_pipeline.models.weights import TransformerWeights

# Answers of several states meet one tile of the vocabulary after the other: each matrix column is
# fetched from memory once for all of them, and their logits stay in cache between the passes.
_ROWS = 512
_TILE_BYTES = 2**20
_LEAST_WIDTH = 256

# Below it, log1p(sum) would turn the rounding of the sum into more than twice as much.
_LEAST_SUM = -0.5


class KlObjective:
    """Mean KL over answers, in nats. Lower is better; 0 for the whole model.

    Source: Conmy et al. 2023 (arXiv 2304.14997), section 3, for the metric.
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
        self.mean_direction = self.probs @ widened(weights.w_u, self.probs).T
        uncapped = replace(weights, logit_cap=None)
        self.logits = None if weights.logit_cap is None else logits_of(uncapped, final)

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
        growth = change.new_zeros(change.shape[:2], dtype=torch.float64)
        total, mean = torch.zeros_like(growth), torch.zeros_like(growth)
        width = max(_LEAST_WIDTH, _TILE_BYTES // (change[..., 0].nbytes))
        for start in range(0, w_u.shape[1], width):
            tile = slice(start, start + width)
            d = torch.matmul(change, widened(w_u[:, tile], change))
            if cap is not None and self.logits is not None:
                d = capped_change(self.logits[:, tile], d, cap)
                mean += (self.probs[:, tile] * d).sum(-1)
            growth += torch.expm1(d).mul_(self.probs[:, tile]).sum(-1)
            total += torch.exp(d).mul_(self.probs[:, tile]).sum(-1)
        if cap is None:
            mean = (change * self.mean_direction).sum(-1)
        return self._log_of(growth, total, change) - mean.to(change.dtype)

    def _log_of(
        self,
        weighted: Float[Tensor, "state answer"],
        total: Float[Tensor, "state answer"],
        change: Float[Tensor, "state answer d_model"],
    ) -> Float[Tensor, "state answer"]:
        """log Σ p·exp(d), how much the normaliser grows.

        From `weighted` = Σ p·expm1(d); near -1 that has lost its digits (a sure model whose
        favourite falls far), and `total` = Σ p·exp(d) has them.
        """
        growth = torch.where(weighted < _LEAST_SUM, total.log(), torch.log1p(weighted))
        growth = growth.to(change.dtype)
        # Beyond some ninety logits exp(d) overflows. There the divergence is large, and the plain
        # form exact enough.
        plain = ~torch.isfinite(growth)
        if bool(plain.any()):
            _, answer = plain.nonzero(as_tuple=True)
            d = change[plain] @ widened(self.weights.w_u, change)
            if self.weights.logit_cap is not None and self.logits is not None:
                d = capped_change(self.logits[answer], d, self.weights.logit_cap)
            growth[plain] = (d + self.logprobs[answer]).logsumexp(-1)
        return growth
