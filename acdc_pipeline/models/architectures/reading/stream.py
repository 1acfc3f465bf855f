"""Constant factors on the residual stream, folded into what reads it and what is written to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def fold_stream_factors(
    blocks: Iterable[Block], factors: Sequence[StreamFactors], norm_final: Norm
) -> tuple[list[Block], Norm]:
    """Return blocks and final norm of the same model, whose stream is a plain sum.

    A stream that is multiplied on its way is no sum of what nodes write. With c the product of the
    factors so far, x / c is one: what is written there is divided by c, and a norm of x is a norm
    of x / c with its eps divided by the square of c.

    Args:
        factors: of each layer.
    """
    if all(found == NO_FACTORS for found in factors):
        return list(blocks), norm_final
    folded, c = [], 1.0
    for block, found in zip(blocks, factors, strict=True):
        between = c * found.before_attention
        after = between * found.before_mlp
        written = scale_mixer(block, found.attention / between)
        written = scale_attention(written, found.attention / between)
        read = replace(written, norm_attn=_read_through(written.norm_attn, c))
        folded.append(scale_mlp(_read_mlp_through(read, between), found.mlp / after))
        c = after
    return folded, _read_through(norm_final, c)


def _read_mlp_through(block: Block, c: float) -> Block:
    """Return `block` with an MLP that reads x / c as it read x."""
    if block.norm_mlp is None:
        return block
    if block.norm_mlp.kind == "none" and isinstance(block.mlp, TokenModule):
        module = RescaledInput(block.mlp.module, c)
        return replace(block, mlp=replace(block.mlp, module=module))
    return replace(block, norm_mlp=_read_through(block.norm_mlp, c))


def _read_through(norm: Norm, c: float) -> Norm:
    """Return the norm of x / c that gives what `norm` gives for x."""
    if c == 1.0:
        return norm
    if norm.kind == "none" or c <= 0:
        raise UnsupportedModel(
            f"a factor of {c:g} on the residual stream is reproduced only in front of norms, and "
            "above 0"
        )
    return replace(norm, eps=norm.eps / c**2)
