"""Models of the same shape that have learnt nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from acdc_pipeline.models.weights import HeadNorm, Norm, Rotary, TransformerWeights

ENOUGH_HEADS = 256
"""Heads that a null needs: the 99th percentile of 256 values is the third highest."""

MOST_MODELS = 32
"""Draws of a model with so few heads that the null stays smaller."""


def random_models(weights: TransformerWeights, seed: int) -> Iterator[TransformerWeights]:
    """Random models with together at least `ENOUGH_HEADS` heads, or `MOST_MODELS` models.

    Small models are drawn several times. Of a model with more heads only the first layers are
    drawn, as many as are needed: without learning, one layer is like the other.
    """
    shallow = replace(weights, blocks=weights.blocks[: _layers(weights)])
    for draw in range(random_model_count(weights)):
        yield random_weights(shallow, seed * ENOUGH_HEADS + draw)


def random_model_count(weights: TransformerWeights) -> int:
    """How many `random_models` there are."""
    return min(MOST_MODELS, -(-ENOUGH_HEADS // (_layers(weights) * weights.topology.n_heads)))


def _layers(weights: TransformerWeights) -> int:
    return min(len(weights.blocks), -(-ENOUGH_HEADS // weights.topology.n_heads))


def random_weights(weights: TransformerWeights, seed: int) -> TransformerWeights:
    """`weights` with every matrix and bias replaced by normal noise of the same mean square.

    Norms and rotary tables stay: they say how the model computes, and hold nothing it looks up.
    """
    return _noise(weights, torch.Generator().manual_seed(seed))


def _noise(item: Any, generator: torch.Generator) -> Any:
    if isinstance(item, Tensor):
        scale = item.to(torch.float32).square().mean().sqrt()
        drawn = torch.randn(item.shape, generator=generator, dtype=torch.float32)
        return (drawn * float(scale)).to(device=item.device, dtype=item.dtype)
    if isinstance(item, Norm | HeadNorm | Rotary):
        return item
    if isinstance(item, tuple):
        return tuple(_noise(part, generator) for part in item)
    if is_dataclass(item) and not isinstance(item, type):
        return replace(
            item, **{f.name: _noise(getattr(item, f.name), generator) for f in fields(item)}
        )
    return item
