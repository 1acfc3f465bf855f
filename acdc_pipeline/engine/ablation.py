"""What a removed edge carries instead of its source's output."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.forward import run_sources
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.names import Ablation


def ablated_outputs(
    weights: TransformerWeights,
    corrupted: Int[Tensor, "batch pos"],
    lengths: Int[Tensor, " batch"],
    ablation: Ablation,
) -> Float[Tensor, "src batch pos d_model"]:
    """What each source writes on a removed edge.

    `corrupted`: its output on the same row's counterfactual (resample ablation).
    `zero`: nothing. `mean`: its mean over all counterfactuals, position by position; a
    position counts the prompts that reach it. Biases of the attention output are constants of
    the stream, not part of any head, so no ablation removes them; an MLP's output bias is part
    of its node.
    """
    outputs = run_sources(weights, corrupted).outputs
    if ablation == "corrupted":
        return outputs
    if ablation == "zero":
        return torch.zeros_like(outputs)
    positions = torch.arange(corrupted.shape[1], device=corrupted.device)
    real = (positions[None] < lengths[:, None]).to(outputs.dtype)[None, :, :, None]
    mean = (outputs * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
    return mean.expand_as(outputs)
