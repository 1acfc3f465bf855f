"""The arithmetic of a transformer's parts, as pure functions on plain tensors.

Head axes come first (`n d_in d_out` weights times `n rows d_in` inputs is one batched product),
`rows` stands for any flattened mixture of states, prompts and positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from acdc_pipeline.models.weights import Attention, HeadNorm, Mlp, Norm, Rotary, RotaryPairs


def widened(weight: Float[Tensor, "*shape"], like: Float[Tensor, ...]) -> Float[Tensor, "*shape"]:
    """A matrix in the type that `like` is computed in; itself unless it is held in 16 bits."""
    return weight.to(like.dtype)


def normalise(x: Float[Tensor, "*rows d_model"], norm: Norm) -> Float[Tensor, "*rows d_model"]:
    """LayerNorm, RMSNorm or nothing, over the last axis."""
    if norm.kind == "none":
        return x
    if norm.kind == "layer":
        return functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)
    return functional.rms_norm(x, x.shape[-1:], norm.weight, norm.eps)


def shares(
    parts: Float[Tensor, "n *rows d_model"],
    total: Float[Tensor, "*rows d_model"],
    norm: Norm,
) -> Float[Tensor, "n *rows d_model"]:
    """What each of `parts` is of the RMS-normalised `total`, which is the sum of all parts."""
    scale = torch.rsqrt(total.square().mean(dim=-1, keepdim=True) + norm.eps)
    scaled = parts * scale
    return scaled if norm.weight is None else scaled * norm.weight


def project(
    x: Float[Tensor, "n_in rows d_in"],
    weight: Float[Tensor, "n d_in d_out"],
    bias: Float[Tensor, "n d_out"] | None,
) -> Float[Tensor, "n rows d_out"]:
    """`x W + b` for n heads at once; `n_in` is n, or 1 where all read the same input."""
    weight = widened(weight, x)
    if bias is None or x.shape[0] != weight.shape[0]:
        out = torch.matmul(x, weight)
        return out if bias is None else out + bias[:, None]
    return torch.baddbmm(bias[:, None], x, weight)


def rotate(
    x: Float[Tensor, "*lead pos d_head"], rotary: Rotary, positions: Int[Tensor, "*at"]
) -> Float[Tensor, "*lead pos d_head"]:
    """Rotary position embedding of queries or keys that sit at `positions`.

    `positions` broadcasts against the axes of `x` before the last.
    """
    cos, sin = rotary.cos[positions], rotary.sin[positions]
    width = cos.shape[-1]
    turned, rest = x[..., :width], x[..., width:]
    out = turned * cos
    first, second = _pair_axes(rotary.pairs, width)
    # each dimension meets its partner where it lies: a copy of the partners costs more than all
    # products
    out[..., first].addcmul_(turned[..., second], sin[..., first], value=-1)
    out[..., second].addcmul_(turned[..., first], sin[..., second])
    return torch.cat((out, rest), dim=-1) if rest.shape[-1] else out


def _pair_axes(pairs: RotaryPairs, width: int) -> tuple[slice, slice]:
    """The first and the second dimension of every pair that rotates together."""
    if pairs is RotaryPairs.HALVES:
        return slice(0, width // 2), slice(width // 2, width)
    return slice(0, width, 2), slice(1, width, 2)


def normalise_heads(
    x: Float[Tensor, "n *lead d_head"], norm: HeadNorm, rows: Sequence[int]
) -> Float[Tensor, "n *lead d_head"]:
    """Queries or keys of n heads, normalised; `rows` are their rows of the norm's weight.

    A norm across the layer needs all its heads at once.
    """
    weight = norm.weight[rows].reshape(len(rows), *[1] * (x.dim() - 2), -1)
    if norm.kind == "layer":
        return functional.layer_norm(x, x.shape[-1:], None, None, norm.eps) * weight
    if norm.across == "head":
        return functional.rms_norm(x, x.shape[-1:], None, norm.eps) * weight
    mean_square = x.square().mean(dim=(0, -1), keepdim=True)
    return x * torch.rsqrt(mean_square + norm.eps) * weight


def attention_pattern(
    q: Float[Tensor, "*lead query d_head"],
    k: Float[Tensor, "*lead_k key d_head"],
    attn: Attention,
    allowed: Bool[Tensor, "*at query key"],
) -> Float[Tensor, "*out query key"]:
    """Softmax of scaled and capped q·k over the keys each query is allowed to see."""
    scores = soft_cap(torch.matmul(q, k.transpose(-2, -1)) * attn.scale, attn.score_cap)
    return scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1)


def soft_cap(x: Float[Tensor, "*shape"], cap: float | None) -> Float[Tensor, "*shape"]:
    """`x` squeezed into ±`cap`, or as it is where there is no cap."""
    return x if cap is None else cap * torch.tanh(x / cap)


def capped_change(
    x: Float[Tensor, "*at"], change: Float[Tensor, "*lead"], cap: float
) -> Float[Tensor, "*lead"]:
    """`soft_cap(x + change) - soft_cap(x)`, exact also where the change is small.

    By the addition theorem: with t = tanh(x/cap) and u = tanh(change/cap), the difference is
    cap * (1 - t²) * u / (1 + t * u). Large changes are subtracted plainly: there 1 + t * u may
    be 0.
    """
    t, u = torch.tanh(x / cap), torch.tanh(change / cap)
    small = cap * (1 - t * t) * u / (1 + t * u)
    return torch.where(u.abs() < 0.5, small, soft_cap(x + change, cap) - cap * t)


def mlp_output(x: Float[Tensor, "*rows d_model"], mlp: Mlp) -> Float[Tensor, "*rows d_model"]:
    """The MLP's output, its output bias included."""
    rows = x.reshape(-1, x.shape[-1])
    pre = _affine(rows, mlp.w_in, mlp.b_in)
    if mlp.w_gate is None:
        hidden = _activate(pre, mlp)
    else:
        hidden = _gated(_activate(_affine(rows, mlp.w_gate, mlp.b_gate), mlp), pre)
    return _affine(hidden, mlp.w_out, mlp.b_out).view(x.shape)


def _affine(
    x: Float[Tensor, "rows d_in"],
    weight: Float[Tensor, "d_in d_out"],
    bias: Float[Tensor, " d_out"] | None,
) -> Float[Tensor, "rows d_out"]:
    """`x W + b` in one pass: a second one over the result costs half as much as the product."""
    weight = widened(weight, x)
    return x @ weight if bias is None else torch.addmm(bias, x, weight)


def _gated(
    gate: Float[Tensor, "*rows d_mlp"], pre: Float[Tensor, "*rows d_mlp"]
) -> Float[Tensor, "*rows d_mlp"]:
    """`gate * pre`; in place of `gate`, which nothing else reads, unless gradients need it.

    The hidden units are the largest tensors of a forward: one fewer is a third of the time that
    passes between the products.
    """
    return gate * pre if torch.is_grad_enabled() else gate.mul_(pre)


def _activate(x: Float[Tensor, "*rows d_mlp"], mlp: Mlp) -> Float[Tensor, "*rows d_mlp"]:
    match mlp.activation:
        case "gelu":
            return functional.gelu(x)
        case "gelu_tanh":
            return functional.gelu(x, approximate="tanh")
        case "relu":
            return functional.relu(x)
        case "silu":
            return functional.silu(x)
