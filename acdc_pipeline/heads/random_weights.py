"""Random models of the same shape, for the null of untrained weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.mapped import MappedBlocks
from acdc_pipeline.models.weights import Block, HeadNorm, Norm, Rotary, TransformerWeights

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
    return (random_model(weights, seed, number) for number in range(random_model_count(weights)))


def random_model(weights: TransformerWeights, seed: int, number: int) -> TransformerWeights:
    """Draw the model of a number from 0; see `random_models`."""
    shallow = replace(weights, blocks=weights.blocks[: _layers(weights)])
    return random_weights(shallow, seed * ENOUGH_HEADS + number)


def random_model_count(weights: TransformerWeights) -> int:
    """The number of models that `random_models` draws."""
    drawn = replace(weights, blocks=weights.blocks[: _layers(weights)]).topology.n_heads_total
    return min(MOST_MODELS, -(-ENOUGH_HEADS // drawn))


def _layers(weights: TransformerWeights) -> int:
    topology = weights.topology
    needed = -(-ENOUGH_HEADS // topology.n_heads)
    having = topology.layers_with_heads
    return len(weights.blocks) if needed > len(having) else having[needed - 1] + 1


def random_weights(weights: TransformerWeights, seed: int) -> TransformerWeights:
    """Replace every matrix and bias with normal noise of the same mean square.

    Norms and tables of positions stay: they define how the model computes and store no knowledge.
    So do the vectors in modules of the model itself.
    """
    return _noise(weights, torch.Generator().manual_seed(seed))


def _noise(item: Any, generator: torch.Generator) -> Any:
    if isinstance(item, Tensor):
        scale = item.to(torch.float32).square().mean().sqrt()
        drawn = torch.randn(item.shape, generator=generator, dtype=torch.float32)
        return drawn.mul_(float(scale)).to(device=item.device, dtype=item.dtype)
    if isinstance(item, Norm | HeadNorm | Rotary):
        return item
    if isinstance(item, nn.Module):
        return _noisy_copy(item, generator)
    if isinstance(item, MappedBlocks):
        return _noisy_blocks(item, generator)
    if isinstance(item, tuple):
        return tuple(_noise(part, generator) for part in item)
    if is_dataclass(item) and not isinstance(item, type):
        parts = {f.name: getattr(item, f.name) for f in fields(item) if f.name not in _TABLES}
        return replace(item, **{name: _noise(part, generator) for name, part in parts.items()})
    return item


def _noisy_blocks(blocks: MappedBlocks[Block], generator: torch.Generator) -> MappedBlocks[Block]:
    """Blocks that are drawn when they are needed, each time the same.

    One is held at a time, beside the one of the model that the next is drawn for.
    """
    states: dict[int, Tensor] = {}

    def draw(index: int) -> Block:
        if index not in states:  # for the first time, and in order
            states[index] = generator.get_state()
        again = torch.Generator()
        again.set_state(states[index])
        noise = _noise(blocks.read_once(index), again)
        if index + 1 not in states:
            generator.set_state(again.get_state())
        return noise

    return MappedBlocks(draw, blocks.sizes, 0, reads_ahead=False)


def _noisy_copy(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy of `module` with noise in place of its matrices."""
    if any(parameter.is_meta for parameter in module.parameters()):
        raise UnsupportedModel(
            "heads beside the model's own modules need the whole model in memory, for models with "
            "random weights",
            fix="use a memory budget that holds its weights (--memory)",
        )
    memo: dict[int, Any] = {
        id(parameter): nn.Parameter(_noise(parameter.detach(), generator), requires_grad=False)
        for parameter in module.parameters()
        if parameter.dim() > 1
    }
    return copy.deepcopy(module, memo)
