"""Rotary tables, computed by the rotary module of the model itself, whatever its scaling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS, Architecture
from acdc_pipeline.models.weights import Rotary, RotaryPairs


def read_rotary(
    module: Any, architecture: Architecture, attentions: Iterable[Any], n_ctx: int
) -> list[Rotary | None]:
    """Return the rotary embedding of each layer, None for layers without one.

    Args:
        module: the rotary module, called with a tensor of the type wanted, positions and, where
            the base differs between kinds of layers, the kind.
        attentions: attention module of each layer; None for layers without attention.
        n_ctx: number of positions of the model.
    """
    layers = list(attentions)
    types: Sequence[str | None] = [None] * len(layers)
    if isinstance(getattr(module, "rope_type", None), dict):
        types = list(module.config.layer_types)
    positions = _count_positions(module, n_ctx)
    rotated = [attention is not None and architecture.rotates(attention) for attention in layers]
    used = {kind for kind, rotates in zip(types, rotated, strict=True) if rotates}
    by_type = {kind: _evaluate(module, architecture, positions, kind) for kind in used}
    return [
        by_type[kind] if rotates else None for kind, rotates in zip(types, rotated, strict=True)
    ]


def _evaluate(
    module: Any, architecture: Architecture, positions: int, layer_type: str | None
) -> Rotary:
    pairs = RotaryPairs(architecture.rotary_pairs)
    probe = torch.zeros(1, positions, 1, dtype=torch.float32)
    extra = () if layer_type is None else (layer_type,)
    with torch.no_grad():
        cos, sin = module(probe, torch.arange(positions)[None], *extra)
    if architecture.rotary_once:
        cos, sin = (_repeat(table, pairs) for table in (cos, sin))
    return Rotary(_by_pair(cos[0], pairs), _by_pair(sin[0], pairs), pairs)


def _by_pair(
    table: Float[Tensor, "position rotary"], pairs: RotaryPairs
) -> Float[Tensor, "position rotary"]:
    """Return a table with the same column for both dimensions of a pair.

    Where adjacent dimensions rotate together, some modules still write their columns in two equal
    halves, of which attention then repeats one.
    """
    first, second = table.chunk(2, dim=1)
    if pairs is RotaryPairs.ADJACENT and torch.equal(first, second):
        return first.repeat_interleave(2, dim=1)
    return table


def _repeat(
    table: Float[Tensor, "1 position frequency"], pairs: RotaryPairs
) -> Float[Tensor, "1 position rotary"]:
    """Return the table of both dimensions of each pair, from one column per pair."""
    if pairs is RotaryPairs.ADJACENT:
        return table.repeat_interleave(2, dim=-1)
    return torch.cat([table, table], dim=-1)


def _count_positions(module: Any, n_ctx: int) -> int:
    """Return the number of positions that one table holds for.

    LongRoPE switches to a second table beyond the length of the first training. That table is not
    read, so such prompts are refused.
    """
    positions = min(n_ctx, MAX_ROTARY_POSITIONS)
    parameters = getattr(module.config, "rope_parameters", None) or {}
    if parameters.get("rope_type") == "longrope":
        positions = min(positions, int(parameters["original_max_position_embeddings"]))
    return positions
