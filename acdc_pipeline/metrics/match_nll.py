"""How far the circuit's negative log-likelihood is from the model's."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.metrics.nll import negative_log_likelihood


def matched_negative_log_likelihood(
    model_logprobs: Float[Tensor, "answer vocab"],
    circuit_logprobs: Float[Tensor, "*state answer vocab"],
    correct: Bool[Tensor, "answer vocab"],
) -> Float[Tensor, "*state answer"]:
    """-log of the correct tokens' total probability, less the same of the model, in nats.

    Lower is better: 0 where the circuit expects them as much as the model does, negative where it
    expects them more. A search decides as by `nll`; what differs is that the model stands at 0
    on every prompt. The metric `match_nll` of the code of Conmy et al. 2023 (arXiv 2304.14997).
    """
    of_model = negative_log_likelihood(model_logprobs, correct)
    return negative_log_likelihood(circuit_logprobs, correct) - of_model
