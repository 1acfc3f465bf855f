"""What heads project of inputs that they normalise first, and the gradient by those inputs.

Where each head reads an input of its own, the inputs are many times larger than what is projected
of them. For an RMS norm the norm's weight is multiplied into the projection and the scale of each
row is applied to what was projected, so that nothing else of the size of the inputs is made:

    RMSNorm(x) W = r (x V)   with   V = diag(norm weight) W,   r = (mean(x^2) + eps)^(-1/2)
    gradient by x = r (g V^T) - x r^2 / d (p.g)   with   p = r (x V), g the gradient by p
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.components import normalise, project, widened
from acdc_pipeline.models.weights import Norm


def project_normalised(
    norm: Norm,
    x: Float[Tensor, "n_in rows d_model"],
    weight: Float[Tensor, "n d_model d_out"],
    bias: Float[Tensor, "n d_out"] | None,
) -> Float[Tensor, "n rows d_out"]:
    """`normalise(x) W + b` for n heads at once; `n_in` is n, or 1 where all read the same input.

    Differentiable by `x` alone: of an RMS norm the weights are constants.
    """
    if norm.kind != "rms" or len(x) != len(weight):
        return project(normalise(x, norm), weight, bias)
    out: Tensor = _ProjectRms.apply(x, rms_scale(x, norm), folded(weight, norm, x))
    return out if bias is None else out + bias[:, None]


def rms_scale(x: Float[Tensor, "*rows d_model"], norm: Norm) -> Float[Tensor, "*rows 1"]:
    """What an RMS norm multiplies each row with, its weight aside."""
    length = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True)
    return torch.rsqrt(length.square() / x.shape[-1] + norm.eps)


def folded(
    weight: Float[Tensor, "n d_model d_out"], norm: Norm, like: Float[Tensor, ...]
) -> Float[Tensor, "n d_model d_out"]:
    """The projection with the norm's weight in it, in the type that `like` is computed in."""
    weight = widened(weight, like)
    return weight if norm.weight is None else weight * norm.weight[:, None]


def through_rms(
    gradient: Float[Tensor, "n rows d_out"],
    x: Float[Tensor, "n_in rows d_model"],
    scale: Float[Tensor, "n_in rows 1"],
    weight: Float[Tensor, "n d_model d_out"],
    projected: Float[Tensor, "n rows d_out"],
) -> Float[Tensor, "n rows d_model"]:
    """The gradient by each input, from the gradient by what n heads project of it.

    Args:
        gradient: by `projected`.
        x: what the heads read, before the norm; one of them where all read the same.
        scale: see `rms_scale`.
        weight: the projection with the norm's weight in it.
        projected: without a bias.
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
        return through_rms(grad_outputs[0], x, scale, weight, out), None, None
