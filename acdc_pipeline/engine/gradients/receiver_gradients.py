"""The gradient of the objective by the input of every receiver of the whole model.

One backward pass, layer by layer: each layer is run again from the stream it reads, so that only
one layer's activations are held. All receivers of a layer's heads read the same stream. Their
gradients are separate after the projections, where each slot of each head has values of its own,
and are backpropagated through weights and norm one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.attention import attend, visible_keys
from acdc_pipeline.engine.components import (
    Stream,
    fold_norm,
    normalise,
    project,
    rms_input_gradient,
    rms_scale,
    widen,
)
from acdc_pipeline.engine.forward import Streams, run_mixer, run_mlp_nodes
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.objectives import LogprobObjective
from acdc_pipeline.engine.receiver_forward import Outputs
from acdc_pipeline.engine.slots import (
    Slots,
    join_latent,
    latent_parts,
    project_slots,
    slot_weights,
)
from acdc_pipeline.graph import LOGITS, SLOTS, Receiver, mixer
from acdc_pipeline.models.weights import Block, Latent, TransformerWeights


@dataclass(frozen=True)
class ReceiverGradients:
    """Gradients of receivers that all see the same sources.

    Args:
        receivers: the heads of one layer, by slot and then by head; or one mixer; or one MLP, or
            the router, the experts and the rest of it; or the logits.
        gradient: by the input of each of them, in units of the metric per unit of the stream.
            Higher means that more of this direction makes the objective worse.
    """

    receivers: tuple[Receiver, ...]
    gradient: Float[Tensor, "n batch pos d_model"]


def final_gradient(objective: LogprobObjective, layout: Layout, final: Stream) -> Stream:
    """The gradient of the objective by the final residual stream; 0 except at the answers."""
    return backpropagate(
        lambda leaf: objective(layout.at_answers(leaf.flatten(0, 1))[None]).sum(), final
    )


def backpropagate(
    function: Callable[[Tensor], Tensor],
    x: Float[Tensor, "*shape"],
    at_output: Float[Tensor, "*out"] | None = None,
) -> Float[Tensor, "*shape"]:
    """The gradient by `x`, from that by the output of `function`; None for a single number."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(function(leaf), leaf, at_output)
    return gradient


@dataclass(frozen=True)
class Propagation:
    """How what is wanted at the output of a layer's parts is propagated to their receivers.

    Args:
        final: from the objective and the final stream to the coefficient of that stream.
        mlp: from the weights, the layer, the number of its MLP's receivers, the stream that they
            all read and the coefficient of what the MLP writes to that of each receiver.
        heads: likewise of each head's slots, by slot and then by head.
    """

    final: Callable[[LogprobObjective, Layout, Stream], Stream]
    mlp: Callable[[TransformerWeights, int, int, Stream, Stream], Outputs]
    heads: Callable[[TransformerWeights, int, Stream, Stream], Outputs]


def receiver_gradients(
    weights: TransformerWeights,
    streams: Streams,
    at_final: Stream,
    propagation: Propagation,
) -> Iterator[ReceiverGradients]:
    """Yield the gradients of every receiver in `streams`, from the logits backwards.

    Args:
        streams: the inputs of its nodes where gradients are taken.
        at_final: the gradient by the final stream.
        propagation: `GRADIENTS`, or what takes their place.
    """
    yield ReceiverGradients((Receiver(LOGITS),), at_final[None])
    gradient = at_final
    layers = streams.heads.keys() | streams.mixers.keys() | streams.mlps.keys()
    for layer in sorted(layers, reverse=True):
        at_output = gradient
        if layer in streams.mlps:
            readers = weights.topology.receivers_of(weights.topology.mlp_nodes(layer))
            by_mlp = propagation.mlp(weights, layer, len(readers), streams.mlps[layer], at_output)
            yield ReceiverGradients(tuple(readers), by_mlp)
            gradient = gradient + (by_mlp[0] if len(by_mlp) == 1 else by_mlp.sum(0))
        if not weights.parallel:
            at_output = gradient
        if layer in streams.mixers:
            write = partial(run_mixer, weights.blocks[layer])
            by_mixer = backpropagate(write, streams.mixers[layer], at_output)
            yield ReceiverGradients((Receiver(mixer(layer)),), by_mixer[None])
            gradient = gradient + by_mixer
        if layer not in streams.heads:
            continue
        nodes = weights.topology.heads(layer)
        receivers = tuple(Receiver(node, slot) for slot in SLOTS for node in nodes)
        by_heads = propagation.heads(weights, layer, streams.heads[layer], at_output)
        yield ReceiverGradients(receivers, by_heads)
        gradient = gradient + by_heads.sum(0)


def through_mlp(
    weights: TransformerWeights, layer: int, n: int, stream: Stream, at_output: Stream
) -> Outputs:
    """The gradients by the inputs of the MLP's `n` receivers, which all read one stream."""
    some = range(len(weights.topology.mlp_sources(layer)))
    write = partial(run_mlp_nodes, weights.blocks[layer], some=some)
    # A view in which all inputs are the same memory: each has a gradient of its own.
    inputs = stream.expand(n, *stream.shape)
    return backpropagate(write, inputs, at_output.expand(len(some), *stream.shape))


def _through_heads(
    weights: TransformerWeights, layer: int, stream: Stream, at_output: Stream
) -> Outputs:
    """The gradients by the input of each head's slots, by slot and then by head."""
    block = weights.blocks[layer]
    slots = project_slots(block.attention, normalise(stream, block.norm_attn))
    by_slot = slot_gradients(block, slots, at_output)
    latents = block.attention.latents
    if block.norm_attn.kind == "rms" and all(latent is None for latent in latents.values()):
        return _through_rms(block, stream, slots, by_slot)
    normalised = through_projections(block, stream, by_slot)
    if block.norm_attn.kind == "none":
        return normalised
    norm = partial(normalise, norm=block.norm_attn)
    return backpropagate(norm, stream.expand_as(normalised), normalised)


def slot_gradients(
    block: Block, slots: Slots, at_output: Stream
) -> tuple[Float[Tensor, "head batch pos _"], ...]:
    """The gradients by every head's projection in each slot, from that by what the heads write."""
    pos = slots["k"].shape[2]
    allowed = visible_keys(block.attention, pos, at_output.device)
    with torch.enable_grad():
        leaves: Slots = {slot: part.detach().requires_grad_() for slot, part in slots.items()}
        written = attend(block, range(len(block.attention.w_q)), leaves, allowed)
        inputs = [leaves[slot] for slot in SLOTS]
        return torch.autograd.grad(written, inputs, at_output.expand_as(written))


def through_projections(
    block: Block, stream: Stream, by_slot: Sequence[Float[Tensor, "head batch pos _"]]
) -> Outputs:
    """The gradients by the normalised input of each head's slots, by slot and then by head."""
    heads = range(len(block.attention.w_q))
    back = []
    for slot, gradient in zip(SLOTS, by_slot, strict=True):
        weight, _ = slot_weights(block.attention, slot, heads)
        by_input = project(gradient.flatten(1, 2), weight.transpose(1, 2), None)
        latent = block.attention.latents[slot]
        if latent is not None:
            x = normalise(stream, block.norm_attn).flatten(0, 1)
            by_input = _through_latent(latent, x, by_input)
        back.append(by_input)
    return torch.cat(back).unflatten(1, stream.shape[:2])


def _through_latent(
    latent: Latent, x: Float[Tensor, "rows d_model"], gradient: Float[Tensor, "n rows d_in"]
) -> Float[Tensor, "n rows d_model"]:
    """Backpropagate from a latent, separately for each head, to the normalised input `x`."""
    # Autograd goes through the norms of the latent alone, which is narrower than `x`.
    with torch.enable_grad():
        leaves = [
            part.expand(len(gradient), *part.shape).detach().requires_grad_()
            for part in latent_parts(latent, x)
        ]
        by_part = torch.autograd.grad(join_latent(latent, leaves), leaves, gradient)
    by_input = by_part[0] @ widen(latent.down, x).T
    if latent.direct is not None:
        by_input = by_input + by_part[1] @ widen(latent.direct, x).T
    return by_input


def _through_rms(
    block: Block, stream: Stream, slots: Slots, by_slot: Sequence[Float[Tensor, "head batch pos _"]]
) -> Float[Tensor, "n batch pos d_model"]:
    """Backpropagate from the projections in each slot to the inputs of an RMS norm."""
    heads = range(block.attention.w_q.shape[0])
    x = stream.flatten(0, 1)[None]
    scale = rms_scale(x, block.norm_attn)
    back = []
    for slot, gradient in zip(SLOTS, by_slot, strict=True):
        weight, bias = slot_weights(block.attention, slot, heads)
        projected = slots[slot].flatten(1, 2)
        without_bias = projected if bias is None else projected - bias[:, None]
        whole = fold_norm(weight, block.norm_attn, x)
        back.append(rms_input_gradient(gradient.flatten(1, 2), x, scale, whole, without_bias))
    return torch.cat(back).unflatten(1, stream.shape[:2])


GRADIENTS = Propagation(final_gradient, through_mlp, _through_heads)
"""Propagation of gradients."""
