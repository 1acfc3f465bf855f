"""Random models of the same shape, for the null of untrained weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from acdc_pipeline.models.weights import HeadNorm, Norm, Rotary, TransformerWeights

_TABLES = frozenset({"alibi", "query_scale"})

ENOUGH_HEADS = 256
"""The number of heads that a null needs: the 99th percentile of 256 values is the third highest."""

MOST_MODELS = 32
"""The largest number of models drawn, even if they have fewer heads."""


def random_models(weights: TransformerWeights, seed: int) -> Iterator[TransformerWeights]:
    """Draw random models with at least `ENOUGH_HEADS` heads in total, or `MOST_MODELS` models.

    Small models are drawn several times. Of larger models only as many of the first layers as are
    needed are drawn: without training, all layers are alike.
    """
    shallow = replace(weights, blocks=weights.blocks[: _layers(weights)])
    for draw in range(random_model_count(weights)):
        yield random_weights(shallow, seed * ENOUGH_HEADS + draw)


def random_model_count(weights: TransformerWeights) -> int:
    """The number of models that `random_models` draws."""
    return min(MOST_MODELS, -(-ENOUGH_HEADS // (_layers(weights) * weights.topology.n_heads)))


def _layers(weights: TransformerWeights) -> int:
    return min(len(weights.blocks), -(-ENOUGH_HEADS // weights.topology.n_heads))


def random_weights(weights: TransformerWeights, seed: int) -> TransformerWeights:
    """Replace every matrix and bias with normal noise of the same mean square.

    Norms and tables of positions stay: they define how the model computes and store no knowledge.
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
        parts = {f.name: getattr(item, f.name) for f in fields(item) if f.name not in _TABLES}
        return replace(item, **{name: _noise(part, generator) for name, part in parts.items()})
    return item
