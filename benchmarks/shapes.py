"""Models of known shapes with random weights, made in memory: for what depends on shape alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acdc_pipeline.models.weights import (
    Attention,
    Block,
    Mlp,
    Norm,
    Rotary,
    RotaryPairs,
    TransformerWeights,
)


@dataclass(frozen=True)
class Shape:
    """What decides the cost of a model.

    Args:
        layers: blocks.
        heads: query heads a block.
        kv_heads: heads of keys and values a block.
        d_model: width of the residual stream.
        d_mlp: hidden units of an MLP.
        vocab: tokens.
        gated: whether MLPs have a gate (Llama).
        parallel: whether attention and MLP read the same stream (GPT-NeoX).
        rotary: dimensions of a head that are rotated; 0 for learnt positions.
    """

    layers: int
    heads: int
    kv_heads: int
    d_model: int
    d_mlp: int
    vocab: int
    gated: bool
    parallel: bool
    rotary: int

    @property
    def d_head(self) -> int:
        """Width of a head."""
        return self.d_model // self.heads


SHAPES = {
    "gpt2": Shape(12, 12, 12, 768, 3072, 50257, gated=False, parallel=False, rotary=0),
    "pythia-410m": Shape(24, 16, 16, 1024, 4096, 50304, gated=False, parallel=True, rotary=16),
    "llama-3.2-1b": Shape(16, 32, 8, 2048, 8192, 128256, gated=True, parallel=False, rotary=64),
}

_POSITIONS = 64


def random_weights(shape: Shape, seed: int = 0) -> TransformerWeights:
    """A model of that shape, its matrices normal with a standard deviation of 1/sqrt(inputs)."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator).mul_(size[-2] ** -0.5)

    norm = Norm("rms" if shape.gated else "layer", torch.ones(shape.d_model), None, 1e-5)
    angles = torch.arange(_POSITIONS)[:, None] * torch.logspace(0, -4, max(1, shape.rotary // 2))
    table = angles.repeat(1, 2)
    rotary = Rotary(table.cos(), table.sin(), RotaryPairs.HALVES) if shape.rotary else None
    blocks = []
    for _ in range(shape.layers):
        attention = Attention(
            w_q=drawn(shape.heads, shape.d_model, shape.d_head),
            w_k=drawn(shape.kv_heads, shape.d_model, shape.d_head),
            w_v=drawn(shape.kv_heads, shape.d_model, shape.d_head),
            w_o=drawn(shape.heads, shape.d_head, shape.d_model),
            b_q=None,
            b_k=None,
            b_v=None,
            b_o=None,
            scale=shape.d_head**-0.5,
            rotary=rotary,
            direction="causal",
        )
        feed_forward = Mlp(
            w_in=drawn(shape.d_model, shape.d_mlp),
            b_in=None,
            w_gate=drawn(shape.d_model, shape.d_mlp) if shape.gated else None,
            w_out=drawn(shape.d_mlp, shape.d_model),
            b_out=None,
            activation="silu" if shape.gated else "gelu",
        )
        blocks.append(Block(norm, attention, norm, feed_forward))
    return TransformerWeights(
        w_e=drawn(shape.vocab, shape.d_model),
        w_pos=None if shape.rotary else drawn(_POSITIONS, shape.d_model),
        blocks=tuple(blocks),
        norm_final=norm,
        w_u=drawn(shape.d_model, shape.vocab),
        b_u=None,
        parallel=shape.parallel,
        n_ctx=_POSITIONS,
    )
