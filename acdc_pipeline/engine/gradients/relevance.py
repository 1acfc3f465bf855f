"""Coefficients of layer-wise relevance propagation, in place of gradients.

The rules of RelP (Rezaei Jafari et al. 2025, arXiv 2508.21258), each of which replaces the gradient
of one operation by another linear map:

    LN-rule        a norm scales its input by a constant factor
    identity-rule  an activation function multiplies its input by the constant f(x) / x
    half-rule      a product of two activations passes half of the gradient to each
    0-rule         a linear map passes its gradient

Softmax, caps, norms of queries and keys, and modules that a model brings itself (experts, mixers)
are differentiated as they are, so that queries and keys have coefficients too.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.attention import attend, visible_keys
from acdc_pipeline.engine.components import ACTIVATIONS, Stream, normalise, widen
from acdc_pipeline.engine.gradients.receiver_gradients import (
    Propagation,
    final_gradient,
    slot_gradients,
    through_mlp,
    through_projections,
)
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.objectives import LogprobObjective
from acdc_pipeline.engine.receiver_forward import Outputs
from acdc_pipeline.engine.slots import project_slots
from acdc_pipeline.models.weights import Mlp, Norm, TransformerWeights

_NO_NORM = Norm("none", None, None, 0.0)


def through_norm(
    gradient: Float[Tensor, "*lead d_model"], x: Float[Tensor, "*rows d_model"], norm: Norm
) -> Float[Tensor, "*lead d_model"]:
    """The coefficient of a norm's input `x` by the LN-rule, from that of its output.

        (w g - mean(w g)) / s   with   w the norm's weight, s the deviation that it divides by

    for the gradient g by the output; without the mean for an RMS norm.
    """
    if norm.kind == "none":
        return gradient
    centred = x - x.mean(-1, keepdim=True) if norm.kind == "layer" else x
    scale = torch.rsqrt(centred.square().mean(-1, keepdim=True) + norm.eps)
    back = (gradient if norm.weight is None else gradient * norm.weight) * scale
    return back - back.mean(-1, keepdim=True) if norm.kind == "layer" else back


def _through_final(objective: LogprobObjective, layout: Layout, final: Stream) -> Stream:
    weights = objective.weights
    normalised = normalise(final, weights.norm_final)
    after_norm = replace(objective, weights=replace(weights, norm_final=_NO_NORM))
    by_normalised = final_gradient(after_norm, layout, normalised)
    return through_norm(by_normalised, final, weights.norm_final)


def _through_mlp(
    weights: TransformerWeights, layer: int, n: int, stream: Stream, at_output: Stream
) -> Outputs:
    block = weights.blocks[layer]
    mlp = block.mlp
    if not isinstance(mlp, Mlp):
        return through_mlp(weights, layer, n, stream, at_output)
    assert block.norm_mlp is not None, "a block with an MLP has a norm before it"
    x = normalise(stream, block.norm_mlp)
    pre = _affine(x, mlp.w_in, mlp.b_in)
    gate_pre = None if mlp.w_gate is None else _affine(x, mlp.w_gate, mlp.b_gate)
    activation = ACTIVATIONS[mlp.activation]
    active = activation(pre if gate_pre is None else gate_pre)
    if block.post_mlp is not None:
        hidden = active if gate_pre is None else active * pre
        written = _affine(hidden, mlp.w_out, mlp.b_out)
        at_output = through_norm(at_output, written, block.post_mlp)
    by_hidden = at_output @ widen(mlp.w_out, x).T
    if gate_pre is None:
        back = (by_hidden * _slope(active, pre)) @ widen(mlp.w_in, x).T
    else:
        assert mlp.w_gate is not None
        half = by_hidden / 2
        back = (half * active) @ widen(mlp.w_in, x).T
        back += (half * pre * _slope(active, gate_pre)) @ widen(mlp.w_gate, x).T
    return through_norm(back, stream, block.norm_mlp)[None]


def _affine(
    x: Float[Tensor, "*rows d_in"],
    weight: Float[Tensor, "d_in d_out"],
    bias: Float[Tensor, " d_out"] | None,
) -> Float[Tensor, "*rows d_out"]:
    out = x @ widen(weight, x)
    return out if bias is None else out + bias


def _slope(
    active: Float[Tensor, "*shape"], pre: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """f(x) / x, and 0 where x is 0: nothing passes there."""
    return torch.where(pre == 0, 0.0, active / pre)


def _through_heads(
    weights: TransformerWeights, layer: int, stream: Stream, at_output: Stream
) -> Outputs:
    block = weights.blocks[layer]
    slots = project_slots(block.attention, normalise(stream, block.norm_attn))
    if block.post_attn is not None:
        alone = replace(block, post_attn=None)
        allowed = visible_keys(block.attention, stream.shape[1], stream.device)
        written = attend(alone, range(len(block.attention.w_q)), slots, allowed).sum(0)
        at_output = through_norm(at_output, written, block.post_attn)
        block = alone
    by_slot = slot_gradients(block, slots, at_output)
    return through_norm(through_projections(block, stream, by_slot), stream, block.norm_attn)


RELEVANCE = Propagation(_through_final, _through_mlp, _through_heads)
"""Propagation by the rules of RelP."""
