"""Constant factors on the residual stream, folded into what reads it and what is written to it.

A stream that is multiplied on its way is no sum of what nodes write. With c the product of the
factors so far, x / c is one: what is written there is divided by c, and a norm of x is a norm of
x / c with its eps divided by the square of c.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.architectures.layout import NO_FACTORS, StreamFactors
from acdc_pipeline.models.architectures.reading.blocks import (
    scale_attention,
    scale_mixer,
    scale_mlp,
)
from acdc_pipeline.models.architectures.reading.composed import RescaledInput
from acdc_pipeline.models.weights import Block, Norm, TokenModule


def stream_scales(factors: Iterable[StreamFactors]) -> list[float]:
    """Return c in front of every layer, and in front of the final norm."""
    scales = [1.0]
    for found in factors:
        scales.append(scales[-1] * found.before_attention * found.before_mlp)
    return scales


def fold_factors(block: Block, found: StreamFactors, c: float) -> Block:
    """Return the block that does to x / c what `block` does to x."""
    if found == NO_FACTORS and c == 1.0:
        return block
    between = c * found.before_attention
    after = between * found.before_mlp
    written = scale_mixer(block, found.attention / between)
    written = scale_attention(written, found.attention / between)
    read = replace(written, norm_attn=read_through(written.norm_attn, c))
    return scale_mlp(_read_mlp_through(read, between), found.mlp / after)


def read_through(norm: Norm, c: float) -> Norm:
    """Return the norm of x / c that gives what `norm` gives for x.

    Raises:
        UnsupportedModel: there is none.
    """
    if c == 1.0:
        return norm
    if norm.kind == "none" or c <= 0:
        raise UnsupportedModel(
            f"a factor of {c:g} on the residual stream is reproduced only in front of norms, and "
            "above 0"
        )
    return replace(norm, eps=norm.eps / c**2)


def _read_mlp_through(block: Block, c: float) -> Block:
    """Return `block` with an MLP that reads x / c as it read x."""
    if block.norm_mlp is None:
        return block
    if block.norm_mlp.kind == "none" and isinstance(block.mlp, TokenModule):
        module = RescaledInput(block.mlp.module, c)
        return replace(block, mlp=replace(block.mlp, module=module))
    return replace(block, norm_mlp=read_through(block.norm_mlp, c))
