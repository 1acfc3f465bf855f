"""How the prompts of a task use the experts of a model's mixtures."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.components import normalise
from acdc_pipeline.engine.forward import embed, run_streams
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.models.mixtures import Router, find_router
from acdc_pipeline.models.weights import TransformerWeights

_DIGITS = 6


def expert_use(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    lengths: Int[Tensor, " batch"],
    *,
    memory: int,
) -> dict[str, Any] | None:
    """Return how often each expert is chosen, and with which weight, as JSON data.

    `tokens` is the number of tokens; `layers` has for each layer with a mixture `share`, the share
    of the tokens that choose each expert (they sum to the number of experts that a token chooses),
    and `weight`, each expert's share of all routing weight (they sum to 1). None if the model has
    no mixture whose routing can be read.

    Args:
        lengths: the number of tokens of each prompt; padding does not count.
        memory: bytes for the streams of the prompts that run together.
    """
    found = {
        layer: router
        for layer, block in enumerate(weights.blocks)
        if (router := find_router(block, weights.d_model)) is not None
    }
    if not found:
        return None
    counted = {
        layer: torch.zeros(2, n_experts, dtype=torch.float64)
        for layer, (_, n_experts) in found.items()
    }
    fit = rows_at_once(weights, tokens.shape[1], memory) // len(weights.blocks)
    with torch.no_grad():
        for rows in chunks(len(tokens), max(1, fit)):
            real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[rows, None]
            streams = run_streams(weights, embed(weights, tokens[rows]))
            for layer, (router, _) in found.items():
                norm = weights.blocks[layer].norm_mlp
                assert norm is not None
                counted[layer] += _count(
                    router, normalise(streams.mlps[layer][real], norm), counted[layer].shape[1]
                )
    total = int(lengths.sum())
    return {
        "tokens": total,
        "layers": {
            str(layer): {
                "share": _rounded(chosen / total),
                "weight": _rounded(weight / weight.sum()),
            }
            for layer, (chosen, weight) in counted.items()
        },
    }


def _count(
    router: Router, x: Float[Tensor, "token d_model"], n_experts: int
) -> Float[Tensor, "2 expert"]:
    """How many tokens choose each expert, and the sum of its weights."""
    index, chosen = router(x[None])
    index, chosen = index.flatten().cpu(), chosen.flatten().double().cpu()
    counts = torch.bincount(index, minlength=n_experts).double()
    return torch.stack([counts, torch.bincount(index, chosen, minlength=n_experts)])


def _rounded(values: Float[Tensor, " expert"]) -> list[float]:
    return [round(value, _DIGITS) for value in values.tolist()]
