"""What both readers do with a block: activations, projections, absent biases, scaled outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.weights import Activation, Attention, Block, Mlp, Norm

ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu_squared",
    "silu": "silu",
    "swish": "silu",
}
"""The library's name of an activation, and the engine's."""


def linear(module: Any) -> tuple[Float[Tensor, "d_in d_out"], Float[Tensor, " d_out"] | None]:
    """Return the matrix of a projection, which rows are multiplied with, and its bias."""
    weight = module.weight if type(module).__name__ == "Conv1D" else module.weight.T
    return weight, getattr(module, "bias", None)


def drop_zero(bias: Float[Tensor, "*shape"] | None) -> Float[Tensor, "*shape"] | None:
    """Return None for a bias that is zero everywhere, which saves an addition per state."""
    return None if bias is None or not bool(bias.any()) else bias


def check_post_norm(attn: Attention, post_attn: Norm | None) -> None:
    """Raise UnsupportedModel for a norm after the attention that the engine does not reproduce."""
    if post_attn is not None and (post_attn.kind != "rms" or attn.b_o is not None):
        raise UnsupportedModel(
            "a norm after the attention is reproduced only as an RMS norm of heads without a bias"
        )


def scale_outputs(block: Block, scale: float) -> Block:
    """Return `block` with everything it writes into the residual stream times `scale`."""
    return scale_attention(scale_mixer(scale_mlp(block, scale), scale), scale)


def scale_attention(block: Block, scale: float) -> Block:
    """Return `block` with what its heads write into the residual stream times `scale`."""
    attn = block.attn
    if scale == 1.0 or attn is None:
        return block
    if block.post_attn is not None:
        return replace(block, post_attn=_scale_norm(block.post_attn, scale))
    b_o = None if attn.b_o is None else scale * attn.b_o
    return replace(block, attn=replace(attn, w_o=scale * attn.w_o, b_o=b_o))


def scale_mixer(block: Block, scale: float) -> Block:
    """Return `block` with what its mixer writes into the residual stream times `scale`."""
    mixer = block.mixer
    if scale == 1.0 or mixer is None:
        return block
    if block.post_mixer is not None:
        return replace(block, post_mixer=_scale_norm(block.post_mixer, scale))
    return replace(block, mixer=replace(mixer, scale=scale * mixer.scale))


def scale_mlp(block: Block, scale: float) -> Block:
    """Return `block` with what its MLP writes into the residual stream times `scale`."""
    mlp = block.mlp
    if scale == 1.0 or mlp is None:
        return block
    if block.post_mlp is not None:
        return replace(block, post_mlp=_scale_norm(block.post_mlp, scale))
    if not isinstance(mlp, Mlp):
        return replace(block, mlp=replace(mlp, scale=scale * mlp.scale))
    b_out = None if mlp.b_out is None else scale * mlp.b_out
    return replace(block, mlp=replace(mlp, w_out=scale * mlp.w_out, b_out=b_out))


def _scale_norm(norm: Norm, scale: float) -> Norm:
    if norm.weight is None:
        raise UnsupportedModel("a norm without weights has an output that is scaled")
    bias = None if norm.bias is None else scale * norm.bias
    return replace(norm, weight=scale * norm.weight, bias=bias)
