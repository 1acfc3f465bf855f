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
from acdc_pipeline.models.weights import TransformerWeights

# Logits in flight: small enough to stay in cache between the passes over them.
_CHUNK_BYTES = 4 * 2**20

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
    ) -> None:
        self.weights = weights
        self.base = normalise(final, weights.norm_final)
        self.logprobs = logprobs
        self.probs = logprobs.exp()
        self.mean_direction = self.probs @ widened(weights.w_u, self.probs).T
        uncapped = replace(weights, logit_cap=None)
        self.logits = None if weights.logit_cap is None else logits_of(uncapped, final)

    def __call__(self, final: Float[Tensor, "state answer d_model"]) -> Float[Tensor, " state"]:
        return self.per_answer(final).to(torch.float64).mean(-1)

    def per_answer(
        self, final: Float[Tensor, "state answer d_model"]
    ) -> Float[Tensor, "state answer"]:
        """The KL of each answer."""
        change = normalise(final, self.weights.norm_final) - self.base
        per_state = self.probs.nbytes
        chunks = change.split(max(1, _CHUNK_BYTES // per_state))
        w_u = widened(self.weights.w_u, final)
        return torch.cat([self._divergence(chunk, w_u) for chunk in chunks])

    def _divergence(
        self,
        change: Float[Tensor, "state answer d_model"],
        w_u: Float[Tensor, "d_model vocab"],
    ) -> Float[Tensor, "state answer"]:
        d = torch.matmul(change, w_u)
        if self.logits is None or self.weights.logit_cap is None:
            return self._log_growth(d) - (change * self.mean_direction).sum(-1)
        capped = capped_change(self.logits, d, self.weights.logit_cap)
        return self._log_growth(capped) - (self.probs * capped).sum(-1)

    def _log_growth(self, d: Float[Tensor, "state answer vocab"]) -> Float[Tensor, "state answer"]:
        """log Σ p·exp(d): how much the normaliser grows."""
        weighted = torch.expm1(d).mul_(self.probs).sum(-1)
        growth = torch.log1p(weighted)
        # Near -1 the sum has lost its digits (a sure model whose favourite falls far), and beyond
        # some ninety logits exp(d) overflows. There the divergence is large, and the plain form
        # exact enough.
        plain = ~torch.isfinite(growth) | (weighted < _LEAST_SUM)
        if bool(plain.any()):
            _, answer = plain.nonzero(as_tuple=True)
            growth[plain] = (d[plain] + self.logprobs[answer]).logsumexp(-1)
        return growth
