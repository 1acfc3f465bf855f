"""KL divergence between model and circuit at the answer positions."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def kl_divergence(
    model_logprobs: Float[Tensor, "answer vocab"],
    circuit_logprobs: Float[Tensor, "*state answer vocab"],
) -> Float[Tensor, "*state answer"]:
    """KL(model ‖ circuit) per answer, in nats. Lower is better; 0 iff the outputs agree.

    The expectation is under the model (Conmy et al. 2023, arXiv 2304.14997, section 3).
    """
    return (model_logprobs.exp() * (model_logprobs - circuit_logprobs)).sum(-1)
