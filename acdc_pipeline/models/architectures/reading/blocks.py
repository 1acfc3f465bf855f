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
    if scale == 1.0:
        return block
    attn, mixer, mlp = block.attn, block.mixer, block.mlp
    post_attn, post_mixer, post_mlp = block.post_attn, block.post_mixer, block.post_mlp
    if post_attn is not None:
        post_attn = _scale_norm(post_attn, scale)
    elif attn is not None:
        b_o = None if attn.b_o is None else scale * attn.b_o
        attn = replace(attn, w_o=scale * attn.w_o, b_o=b_o)
    if post_mixer is not None:
        post_mixer = _scale_norm(post_mixer, scale)
    elif mixer is not None:
        mixer = replace(mixer, scale=scale * mixer.scale)
    if post_mlp is not None:
        post_mlp = _scale_norm(post_mlp, scale)
    elif isinstance(mlp, Mlp):
        b_out = None if mlp.b_out is None else scale * mlp.b_out
        mlp = replace(mlp, w_out=scale * mlp.w_out, b_out=b_out)
    elif mlp is not None:
        mlp = replace(mlp, scale=scale * mlp.scale)
    return replace(
        block,
        attn=attn,
        mixer=mixer,
        mlp=mlp,
        post_attn=post_attn,
        post_mixer=post_mixer,
        post_mlp=post_mlp,
    )


def _scale_norm(norm: Norm, scale: float) -> Norm:
    if norm.weight is None:
        raise UnsupportedModel("a norm without weights has an output that is scaled")
    bias = None if norm.bias is None else scale * norm.bias
    return replace(norm, weight=scale * norm.weight, bias=bias)
