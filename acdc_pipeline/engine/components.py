"""The arithmetic of a transformer's parts, as pure functions on plain tensors.

Head axes come first (`n d_in d_out` weights times `n rows d_in` inputs is one batched product);
`rows` stands for any flattened combination of states, prompts and positions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from acdc_pipeline.models.weights import Activation, Mixer, Mlp, Norm, TokenModule

Stream = Float[Tensor, "batch pos d_model"]
"""A residual stream, or what one source writes to it."""


def widen(weight: Float[Tensor, "*shape"], like: Float[Tensor, ...]) -> Float[Tensor, "*shape"]:
    """Cast a matrix stored in 16 bits to the type of `like`; other matrices are returned as is."""
    return weight.to(like.dtype)


def normalise(x: Float[Tensor, "*rows d_model"], norm: Norm) -> Float[Tensor, "*rows d_model"]:
    """LayerNorm, RMSNorm or nothing, over the last axis."""
    if norm.kind == "none":
        return x
    if norm.kind == "layer":
        return functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)
    return functional.rms_norm(x, x.shape[-1:], norm.weight, norm.eps)


def normalise_parts(
    parts: Float[Tensor, "n *rows d_model"],
    total: Float[Tensor, "*rows d_model"],
    norm: Norm,
) -> Float[Tensor, "n *rows d_model"]:
    """Scale each of `parts` as an RMS norm scales `total`, their sum."""
    scale = torch.rsqrt(total.square().mean(dim=-1, keepdim=True) + norm.eps)
    scaled = parts * scale
    return scaled if norm.weight is None else scaled * norm.weight


def project(
    x: Float[Tensor, "n_in rows d_in"],
    weight: Float[Tensor, "n d_in d_out"],
    bias: Float[Tensor, "n d_out"] | None,
) -> Float[Tensor, "n rows d_out"]:
    """`x W + b` for n heads at once; `n_in` is n, or 1 where all read the same input."""
    weight = widen(weight, x)
    if bias is None or x.shape[0] != weight.shape[0]:
        out = torch.matmul(x, weight)
        return out if bias is None else out + bias[:, None]
    return torch.baddbmm(bias[:, None], x, weight)


def soft_cap(x: Float[Tensor, "*shape"], cap: float | None) -> Float[Tensor, "*shape"]:
    """`cap * tanh(x / cap)`, or `x` where there is no cap."""
    return x if cap is None else cap * torch.tanh(x / cap)


def soft_cap_change(
    x: Float[Tensor, "*at"], change: Float[Tensor, "*lead"], cap: float
) -> Float[Tensor, "*lead"]:
    """`soft_cap(x + change) - soft_cap(x)`, exact also where the change is small.

    By the addition theorem: with t = tanh(x/cap) and u = tanh(change/cap), the difference is
    cap * (1 - t²) * u / (1 + t * u). Large changes are subtracted directly, since 1 + t * u may
    be 0 there.
    """
    t, u = torch.tanh(x / cap), torch.tanh(change / cap)
    small = cap * (1 - t * t) * u / (1 + t * u)
    return torch.where(u.abs() < 0.5, small, soft_cap(x + change, cap) - cap * t)


def mlp_output(
    x: Float[Tensor, "*rows d_model"], mlp: Mlp | TokenModule
) -> Float[Tensor, "*rows d_model"]:
    """The output of an MLP, its output bias included."""
    rows = x.reshape(-1, x.shape[-1])
    if isinstance(mlp, TokenModule):
        return module_output(mlp, rows[None]).view(x.shape)
    return output_of_units(hidden_units(rows, mlp), mlp).view(x.shape)


def hidden_units(rows: Float[Tensor, "rows d_model"], mlp: Mlp) -> Float[Tensor, "rows d_mlp"]:
    """The hidden units of an MLP for its normalised input."""
    pre = _affine(rows, mlp.w_in, mlp.b_in)
    if mlp.w_gate is None:
        return ACTIVATIONS[mlp.activation](pre)
    gate = ACTIVATIONS[mlp.activation](_affine(rows, mlp.w_gate, mlp.b_gate))
    # The hidden units are the largest tensors of a forward pass: in place, where no gradient needs
    # `gate`, a third of the time between the products is saved.
    return gate * pre if torch.is_grad_enabled() else gate.mul_(pre)


def output_of_units(hidden: Float[Tensor, "rows d_mlp"], mlp: Mlp) -> Float[Tensor, "rows d_model"]:
    """The output of an MLP for the values of its hidden units, its output bias included."""
    return _affine(hidden, mlp.w_out, mlp.b_out)


def module_output(part: TokenModule | Mixer, x: Stream) -> Stream:
    """The output of a module of the model itself."""
    result = part.module(x)
    written: Tensor = result[0] if isinstance(result, tuple) else result
    written = written.reshape(x.shape)
    return written if part.scale == 1.0 else part.scale * written


def _affine(
    x: Float[Tensor, "rows d_in"],
    weight: Float[Tensor, "d_in d_out"],
    bias: Float[Tensor, " d_out"] | None,
) -> Float[Tensor, "rows d_out"]:
    """`x W + b` in one pass: a second pass over the result costs half as much as the product."""
    weight = widen(weight, x)
    return x @ weight if bias is None else torch.addmm(bias, x, weight)


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "relu_squared": lambda x: functional.relu(x).square(),
    "silu": functional.silu,
}
"""The function of each activation, by name."""


# Projections of normalised inputs. Where each head reads an input of its own, the inputs are many
# times larger than their projections. For an RMS norm the norm's weight is multiplied into the
# projection and each row is scaled after it, so that nothing else of the inputs' size is made:
#
#     RMSNorm(x) W = r (x V)   with   V = diag(norm weight) W,   r = (mean(x^2) + eps)^(-1/2)
#     gradient by x = r (g V^T) - x r^2 / d (p.g)   with   p = r (x V), g the gradient by p


def project_normalised(
    norm: Norm,
    x: Float[Tensor, "n_in rows d_model"],
    weight: Float[Tensor, "n d_model d_out"],
    bias: Float[Tensor, "n d_out"] | None,
) -> Float[Tensor, "n rows d_out"]:
    """`normalise(x) W + b` for n heads at once; `n_in` is n, or 1 where all read the same input.

    Differentiable by `x` alone: the weights of an RMS norm are constants.
    """
    if norm.kind != "rms" or len(x) != len(weight):
        return project(normalise(x, norm), weight, bias)
    out: Tensor = _ProjectRms.apply(x, rms_scale(x, norm), fold_norm(weight, norm, x))
    return out if bias is None else out + bias[:, None]


def rms_scale(x: Float[Tensor, "*rows d_model"], norm: Norm) -> Float[Tensor, "*rows 1"]:
    """The factor by which an RMS norm scales each row, before its weight."""
    length = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True)
    return torch.rsqrt(length.square() / x.shape[-1] + norm.eps)


def fold_norm(
    weight: Float[Tensor, "n d_model d_out"], norm: Norm, like: Float[Tensor, ...]
) -> Float[Tensor, "n d_model d_out"]:
    """The projection with the norm's weight multiplied in, in the type of `like`."""
    weight = widen(weight, like)
    return weight if norm.weight is None else weight * norm.weight[:, None]


def rms_input_gradient(
    gradient: Float[Tensor, "n rows d_out"],
    x: Float[Tensor, "n_in rows d_model"],
    scale: Float[Tensor, "n_in rows 1"],
    weight: Float[Tensor, "n d_model d_out"],
    projected: Float[Tensor, "n rows d_out"],
) -> Float[Tensor, "n rows d_model"]:
    """The gradient by each input of an RMS norm, from that by the projections after it.

    Args:
        gradient: by `projected`.
        x: the inputs of the heads, before the norm; one of them where all read the same.
        weight: the projection with the norm's weight multiplied in.
        projected: the projections, without a bias.
    """
    along = (projected * gradient).sum(-1, keepdim=True) * scale.square() / x.shape[-1]
    back = torch.bmm(gradient * scale, weight.transpose(1, 2))
    return back.addcmul_(x, along, value=-1)


class _ProjectRms(torch.autograd.Function):
    """`scale * (x @ weight)`, in whose gradient `scale` is a function of `x`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
        out = torch.bmm(x, weight) * scale
        ctx.save_for_backward(x, scale, weight, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        x, scale, weight, out = ctx.saved_tensors
        return rms_input_gradient(grad_outputs[0], x, scale, weight, out), None, None
