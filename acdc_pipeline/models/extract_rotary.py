"""Rotary tables out of a bridge: the model's own module computes them, whatever its scaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from acdc_pipeline.models.directory import NATIVE
from acdc_pipeline.models.weights import Rotary, RotaryPairs

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Rotary tables are cut here: longer prompts are refused by the engine, not approximated.
MAX_ROTARY_POSITIONS = 8192

# Modules that rotate neighbouring dimensions, with one table per layer.
_SINUSOIDAL = {"GPTJForCausalLM"}
_ADJACENT = {"CohereForCausalLM", "Cohere2ForCausalLM"}


def extract_rotary(bridge: TransformerBridge, architecture: str) -> Sequence[Rotary | None]:
    """Each layer's rotary embedding, None for all where the model does not rotate."""
    cfg = bridge.cfg
    n_layers = len(bridge.blocks)
    if str(cfg.positional_embedding_type).lower() != "rotary":
        return [None] * n_layers
    if architecture == NATIVE:
        table: Any = bridge.original_model.rotary
        return [Rotary(table.cos_cached, table.sin_cached, RotaryPairs.ADJACENT)] * n_layers
    if architecture in _SINUSOIDAL:
        return [_sinusoidal(block.attn.original_component) for block in bridge.blocks]
    pairs = RotaryPairs.ADJACENT if architecture in _ADJACENT else RotaryPairs.HALVES
    module: Any = bridge.rotary_emb.original_component
    rotates = [_rotates(block.attn.original_component) for block in bridge.blocks]
    # Where the base differs between kinds of layers, the module asks which kind it is called for.
    types: Sequence[str | None] = [None] * n_layers
    if isinstance(getattr(module, "rope_type", None), dict):
        types = list(module.config.layer_types)
    positions = _positions(module, int(cfg.n_ctx))
    tables = {kind: _called(module, positions, kind, pairs) for kind in set(types)}
    return [tables[kind] if turns else None for kind, turns in zip(types, rotates, strict=True)]


def _called(module: Any, positions: int, layer_type: str | None, pairs: RotaryPairs) -> Rotary:
    probe = torch.zeros(1, positions, 1, dtype=torch.float32)
    extra = () if layer_type is None else (layer_type,)
    with torch.no_grad():
        cos, sin = module(probe, torch.arange(positions)[None], *extra)
    return Rotary(cos[0], sin[0], pairs)


def _positions(module: Any, n_ctx: int) -> int:
    """How many positions one table holds for.

    LongRoPE has another table for prompts beyond the length it was first trained on; that one is
    not taken, so such prompts are refused.
    """
    positions = min(n_ctx, MAX_ROTARY_POSITIONS)
    parameters = getattr(module.config, "rope_parameters", None) or {}
    if parameters.get("rope_type") == "longrope":
        positions = min(positions, int(parameters["original_max_position_embeddings"]))
    return positions


def _sinusoidal(attn: Any) -> Rotary:
    """GPT-J keeps sin and cos of each pair once, side by side."""
    sin, cos = attn.embed_positions.chunk(2, dim=-1)
    return Rotary(
        cos.repeat_interleave(2, dim=-1)[:MAX_ROTARY_POSITIONS],
        sin.repeat_interleave(2, dim=-1)[:MAX_ROTARY_POSITIONS],
        RotaryPairs.ADJACENT,
    )


def _rotates(attn: Any) -> bool:
    """SmolLM3 leaves some layers without positions, and says so in the module."""
    return bool(getattr(attn, "use_rope", True))
