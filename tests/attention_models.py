"""Models of two layers with random weights in float64, each combining kinds of attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from acdc_pipeline.models.weights import (
    Attention,
    Block,
    Difference,
    HeadNorm,
    Latent,
    Mlp,
    Norm,
    NormKind,
    Rotary,
    RotaryPairs,
    TransformerWeights,
)

VOCAB, POSITIONS, D_MODEL, LAYERS = 11, 6, 8, 2

Draw = Callable[..., Tensor]


def _rotary(width: int, pairs: RotaryPairs) -> Rotary:
    angles = torch.arange(POSITIONS)[:, None] * torch.logspace(0, -1, width // 2)
    halves = pairs is RotaryPairs.HALVES
    table = angles.repeat(1, 2) if halves else angles.repeat_interleave(2, dim=1)
    return Rotary(table.cos().double(), table.sin().double(), pairs)


def _attention(
    draw: Draw, *, heads: int = 2, kv_heads: int = 2, d_qk: int = 4, d_v: int = 4, gate: int = 0
) -> Attention:
    """Attention without anything peculiar, the columns of a gate aside."""
    return Attention(
        w_q=draw(heads, D_MODEL, d_qk + gate),
        w_k=draw(kv_heads, D_MODEL, d_qk),
        w_v=draw(kv_heads, D_MODEL, d_v),
        w_o=draw(heads, d_v, D_MODEL),
        b_q=draw(heads, d_qk + gate),
        b_k=draw(kv_heads, d_qk),
        b_v=draw(kv_heads, d_v),
        b_o=draw(D_MODEL),
        scale=d_qk**-0.5,
        rotary=None,
        direction="causal",
    )


def sinks(draw: Draw) -> Attention:
    """Sinks, windows and grouped keys (gpt-oss)."""
    plain = _attention(draw, heads=4)
    table = _rotary(4, RotaryPairs.HALVES)
    return replace(plain, sinks=draw(4), window=3, rotary=table)


def latents(draw: Draw) -> Attention:
    """Multi-head latent attention: a latent of queries, and a key that all heads share."""
    rank, shared = 5, 2
    down, norm = draw(D_MODEL, rank), Norm("rms", draw(rank), None, 1e-5)
    key = Latent(down, draw(rank), norm, draw(D_MODEL, shared), Norm("layer", None, None, 1e-5))
    plain = _attention(draw, d_qk=6, d_v=3)
    return replace(
        plain,
        w_q=draw(2, 3, 6),
        w_k=draw(2, rank + shared, 6),
        w_v=draw(2, rank, 3),
        q_latent=Latent(draw(D_MODEL, 3), None, Norm("rms", draw(3), None, 1e-5)),
        k_latent=key,
        v_latent=replace(key, direct=None, direct_norm=None),
        rotary=_rotary(2, RotaryPairs.ADJACENT),
    )


def gate(draw: Draw) -> Attention:
    """A gate for each dimension of the values, and norms of queries and keys."""
    plain = _attention(draw, heads=4, d_v=3, gate=3)
    return replace(
        plain,
        gate="elements",
        q_norm=HeadNorm("layer", draw(4, 4), 1e-5, "head", draw(4, 4)),
        k_norm=HeadNorm("rms", None, 1e-5, "head", draw(2, 4)),
        v_norm=HeadNorm("rms", draw(2, 3), 1e-5, "head"),
        rotary=_rotary(2, RotaryPairs.HALVES),
    )


def alibi(draw: Draw) -> Attention:
    """ALiBi, clamped projections and a soft cap."""
    slopes = torch.tensor([0.5, 0.125], dtype=torch.float64)
    table = slopes[:, None] * torch.arange(POSITIONS)
    return replace(_attention(draw), alibi=table, clip=0.6, score_cap=0.8)


def chunks(draw: Draw) -> Attention:
    """Chunks, norms after the rotation, scaled queries, one gate for each head."""
    weightless = HeadNorm("rms", None, 1e-5, "head", after_rotation=True)
    return replace(
        _attention(draw, gate=1),
        gate="heads",
        chunk=3,
        q_norm=weightless,
        k_norm=weightless,
        query_scale=1 + draw(POSITIONS).square(),
        rotary=_rotary(4, RotaryPairs.ADJACENT),
    )


def coupled(draw: Draw) -> Attention:
    """A norm across the heads, with latents, sinks, ALiBi and gates."""
    return replace(
        latents(draw),
        w_q=draw(2, 3, 7),
        b_q=draw(2, 7),
        gate="heads",
        q_norm=HeadNorm("rms", draw(2, 6), 1e-5, "layer"),
        b_o=None,
        sinks=draw(2),
        alibi=draw(2, POSITIONS),
    )


def normed(draw: Draw) -> Attention:
    """A norm of what all heads carry, after their gates."""
    return replace(gate(draw), z_norm_eps=1e-5, b_o=None)


def difference(draw: Draw) -> Attention:
    """Differential attention with grouped keys and rotation; the second pattern outweighs."""
    plain = _attention(draw, heads=4, d_qk=4, d_v=6)
    difference = Difference(torch.tensor(1.3, dtype=torch.float64), 1e-5, 0.7)
    return replace(plain, difference=difference, rotary=_rotary(2, RotaryPairs.HALVES))


KINDS: dict[str, tuple[Callable[[Draw], Attention], NormKind]] = {
    "sinks": (sinks, "rms"),
    "latents": (latents, "rms"),
    "latents-layer-norm": (latents, "layer"),
    "gate": (gate, "rms"),
    "alibi": (alibi, "layer"),
    "chunks": (chunks, "none"),
    "normed": (normed, "rms"),
    "difference": (difference, "rms"),
    "coupled": (coupled, "rms"),
}


def build(name: str, seed: int = 0) -> TransformerWeights:
    """One of `KINDS`."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64) * 0.7

    attention, kind = KINDS[name]

    def norm(of: NormKind) -> Norm:
        return Norm(of, 1 + draw(D_MODEL), draw(D_MODEL) if of == "layer" else None, 1e-5)

    def block() -> Block:
        mlp = Mlp(draw(D_MODEL, 6), draw(6), None, draw(6, D_MODEL), draw(D_MODEL), "relu")
        post = norm("rms") if name == "coupled" else None
        return Block(norm(kind), attention(draw), norm(kind), mlp, post_attn=post)

    return TransformerWeights(
        w_e=draw(VOCAB, D_MODEL),
        w_pos=None,
        blocks=tuple(block() for _ in range(LAYERS)),
        norm_final=norm(kind),
        w_u=draw(D_MODEL, VOCAB),
        b_u=None,
        parallel=False,
        n_ctx=POSITIONS,
    )
