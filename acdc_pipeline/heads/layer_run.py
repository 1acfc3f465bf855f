"""The model run layer by layer, with every head's pattern, values and output accessible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.attention import attention_pattern, scaled_scores, visible_keys
from acdc_pipeline.engine.components import Stream, normalise, widen
from acdc_pipeline.engine.forward import check_tokens, embed, run_mixer, run_mlp
from acdc_pipeline.engine.slots import finish_rows, mixed_scale, project_slot, split_gate
from acdc_pipeline.graph import SLOTS, Node, Slot
from acdc_pipeline.models.weights import Attention, Block, TransformerWeights

Places = tuple[Int[Tensor, "*rows"], Int[Tensor, "*pos"]]
"""Rows and positions: indices of the first two axes of a residual stream."""


@dataclass(frozen=True)
class Edits:
    """Changes to single heads; everything after them is recomputed.

    Args:
        written: replacements of heads' outputs, after any norm that follows attention: the ablation
            of every edge that leaves the head.
        query_shift: what is added to the residual stream as read by a head's queries alone.
    """

    written: Mapping[Node, Float[Tensor, "*rows pos d_model"]] = field(default_factory=dict)
    query_shift: Mapping[Node, Stream] = field(default_factory=dict)

    @property
    def first_layer(self) -> int | None:
        """The first layer that changes; None if there are no edits."""
        layers = [node.layer for node in (*self.written, *self.query_shift)]
        return min((layer for layer in layers if layer is not None), default=None)


NO_EDITS = Edits()


def zero_heads(nodes: Iterable[Node], like: Float[Tensor, "*shape"]) -> Edits:
    """The edits that replace the outputs of `nodes` with zeros of the device and type of `like`."""
    nothing = torch.zeros((1, 1), device=like.device, dtype=like.dtype)
    return Edits(dict.fromkeys(nodes, nothing))


def _of_layer(changes: Mapping[Node, Tensor], layer: int) -> list[tuple[int, Tensor]]:
    """The heads of `layer` that are changed, and their changes."""
    return [
        (node.head, change)
        for node, change in changes.items()
        if node.layer == layer and node.head is not None
    ]


@dataclass(frozen=True)
class LayerRun:
    """The attention of one layer.

    Args:
        block: the layer without its mixer and MLP, so that later layers can take their place in
            memory.
        pattern: attention after softmax; in differential attention the difference of two.
        group_values: the values of each key/value head at each position, its bias included.
        carried: each head's values, summed with its pattern as weights, times its gate; before its
            output matrix.
        gate: the factor of what heads carry, a norm of it included; None without both.
        replaced: replacements of heads' outputs, after any norm that follows attention.
        post_scale: the factor of that norm at each position; None without one.
        stream: the residual stream before this layer.
        attended: the residual stream with the outputs of all heads and the mixer of this layer.
    """

    layer: int
    block: Block
    pattern: Float[Tensor, "head batch pos pos"]
    group_values: Float[Tensor, "kv_head batch pos d_v"]
    carried: Float[Tensor, "head batch pos d_v"]
    gate: Float[Tensor, "head batch pos width"] | None
    replaced: tuple[tuple[int, Tensor], ...]
    post_scale: Float[Tensor, "batch pos 1"] | None
    stream: Stream
    attended: Stream

    @property
    def values(self) -> Float[Tensor, "head batch pos d_v"]:
        """The values of each head at each position; a copy where heads share values."""
        each = self.block.attention.heads_per_kv
        return self.group_values if each == 1 else self.group_values.repeat_interleave(each, dim=0)

    @cached_property
    def written(self) -> Float[Tensor, "head batch pos d_model"]:
        """The output of each head, after any norm that follows attention, replacements included.

        Heads times larger than the stream: use `effects` where a dot product is enough.
        """
        every = torch.arange(self.carried.shape[2], device=self.stream.device)
        written = self.into_stream(self.carried, every)
        for head, replacement in self.replaced:
            written[head] = replacement
        return written

    def into_stream(
        self, carried: Float[Tensor, "head batch n d_v"], at: Int[Tensor, " n"]
    ) -> Float[Tensor, "head batch n d_model"]:
        """The outputs of heads that carry `carried` at positions `at`."""
        out = torch.matmul(carried, widen(self.block.attention.w_o, carried)[:, None])
        if self.post_scale is None:
            return out
        return _weighted(self.block, out * self.post_scale[:, at])

    def reading(
        self, gradient: Float[Tensor, "*at d_model"], places: Places
    ) -> Float[Tensor, "head *at d_v"]:
        """The gradient by what heads carry: a head that carries c to `places` adds c·r there.

        Args:
            gradient: by the residual stream at each place.
            places: rows and positions that index the stream to the shape `at`.
        """
        attn = self.block.attention
        gradient = _weighted(self.block, gradient)
        w_o = widen(attn.w_o, gradient)
        if self.post_scale is not None:
            gradient = gradient * self.post_scale[places]
        read = gradient @ w_o.flatten(0, 1).T
        return read.unflatten(-1, w_o.shape[:2]).movedim(-2, 0)

    def value_effects(
        self,
        reading: Float[Tensor, "head *at d_v"],
        places: Places,
        sources: Int[Tensor, "*keys"],
    ) -> Float[Tensor, " head *at"]:
        """The effect that heads would have if they attended to one key alone.

        Args:
            reading: the gradient by what they carry to `places`, rows and positions of queries.
            sources: the position of the key of each query.
        """
        if self.gate is not None:
            reading = reading * self.gate[:, places[0], places[1]]
        return (self.values[:, places[0], sources] * reading).sum(-1)

    def effects(
        self, gradient: Float[Tensor, "*at d_model"], places: Places
    ) -> Float[Tensor, " head *at"]:
        """The dot product of each head's output at `places` with `gradient`."""
        carried = self.carried[:, places[0], places[1]]
        found = (carried * self.reading(gradient, places)).sum(-1)
        for head, replacement in self.replaced:
            instead = replacement.expand_as(self.stream)[places]
            found[head] = (instead * gradient).sum(-1)
        return found


def _weighted(block: Block, out: Float[Tensor, "*at d_model"]) -> Float[Tensor, "*at d_model"]:
    """Multiply `out` by the weight of the norm that follows attention, if there is one."""
    norm = block.post_attn
    return out if norm is None or norm.weight is None else out * norm.weight


def attend(
    weights: TransformerWeights, layer: int, stream: Stream, edits: Edits = NO_EDITS
) -> LayerRun:
    """Run the attention of `layer`, which has heads, on a residual stream; and its mixer."""
    block = weights.blocks[layer]
    pattern, values, carried, gate = _attention(block, stream, _of_layer(edits.query_shift, layer))
    replaced = _of_layer(edits.written, layer)
    total = _output_sum(block, carried)
    post_scale = None
    if block.post_attn is not None:
        mean_square = total.square().mean(dim=-1, keepdim=True)
        post_scale = torch.rsqrt(mean_square + block.post_attn.eps)
    if replaced:
        others = carried.clone()
        others[:, :, [head for head, _ in replaced]] = 0.0
        total = _output_sum(block, others)
    if post_scale is not None:
        total = _weighted(block, total * post_scale)
    attended = total.add_(stream)
    for _, replacement in replaced:
        attended = attended + replacement
    if block.attention.b_o is not None:
        attended = attended + block.attention.b_o
    if block.mixer is not None:
        attended = attended + run_mixer(block, stream)
    return LayerRun(
        layer=layer,
        block=replace(block, mlp=None, mixer=None),
        pattern=pattern.transpose(0, 1),
        group_values=values.transpose(0, 1),
        carried=carried.permute(2, 0, 1, 3),
        gate=None if gate is None else gate.permute(2, 0, 1, 3),
        replaced=tuple(replaced),
        post_scale=post_scale,
        stream=stream,
        attended=attended,
    )


def through_attention(
    weights: TransformerWeights,
    layer: int,
    stream: Stream,
    edits: Edits = NO_EDITS,
    visit: Callable[[LayerRun], None] | None = None,
) -> Stream:
    """The stream after the heads and the mixer of `layer`; `visit` gets the run of its heads."""
    block = weights.blocks[layer]
    if block.attn is None:
        return stream if block.mixer is None else stream + run_mixer(block, stream)
    run = attend(weights, layer, stream, edits)
    if visit is not None:
        visit(run)
    return run.attended


def after_mlp(
    weights: TransformerWeights,
    layer: int,
    stream: Float[Tensor, "*rows d_model"],
    attended: Float[Tensor, "*rows d_model"],
) -> Float[Tensor, "*rows d_model"]:
    """The residual stream after `layer`, from those before it and after its attention."""
    block = weights.blocks[layer]
    if block.mlp is None:
        return attended
    return attended + run_mlp(block, stream if weights.parallel else attended)


def run_layers(
    weights: TransformerWeights,
    stream: Stream,
    *,
    first: int = 0,
    stop: int | None = None,
    edits: Edits = NO_EDITS,
    visit: Callable[[LayerRun], None] | None = None,
) -> Stream:
    """Run layers from `first` up to, but without, `stop`; None runs all that follow.

    `visit` is called with each layer that has heads. Returns the residual stream.
    """
    for layer in range(first, len(weights.blocks) if stop is None else stop):
        attended = through_attention(weights, layer, stream, edits, visit)
        stream = after_mlp(weights, layer, stream, attended)
    return stream


def final_at(
    weights: TransformerWeights,
    stream: Stream,
    places: Places,
    *,
    first: int = 0,
    edits: Edits = NO_EDITS,
) -> Float[Tensor, "*at d_model"]:
    """Run layers from `first` on; returns the final residual stream at `places`.

    The last MLP, which moves nothing between positions, is computed at these places only.
    """
    last = len(weights.blocks) - 1
    if first > last:
        return stream[places]
    stream = run_layers(weights, stream, first=first, stop=last, edits=edits)
    attended = through_attention(weights, last, stream, edits)
    return after_mlp(weights, last, stream[places], attended[places])


def final_after_attention(
    weights: TransformerWeights, layer: int, stream: Stream, attended: Stream, places: Places
) -> Float[Tensor, "*at d_model"]:
    """The final residual stream at `places`, from those before and after a layer's attention."""
    if layer == len(weights.blocks) - 1:
        return after_mlp(weights, layer, stream[places], attended[places])
    after = after_mlp(weights, layer, stream, attended)
    return final_at(weights, after, places, first=layer + 1)


def run_tokens(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    *,
    edits: Edits = NO_EDITS,
    visit: Callable[[LayerRun], None] | None = None,
) -> Stream:
    """Run the whole model with `run_layers`.

    Raises:
        PromptError: the prompts are longer than the model's context or contain unknown tokens.
    """
    check_tokens(weights, tokens)
    return run_layers(weights, embed(weights, tokens), edits=edits, visit=visit)


def _output_sum(block: Block, carried: Float[Tensor, "batch pos head d_v"]) -> Stream:
    """The sum of the outputs of all heads of a layer, before any norm that follows attention."""
    return carried.flatten(2) @ widen(block.attention.w_o, carried).flatten(0, 1)


def _attention(
    block: Block, stream: Stream, query_shifts: list[tuple[int, Tensor]]
) -> tuple[
    Float[Tensor, "batch head pos pos"],
    Float[Tensor, "batch kv_head pos d_v"],
    Float[Tensor, "batch pos head d_v"],
    Float[Tensor, "batch pos head width"] | None,
]:
    """The pattern of every head, the values of each group, what each head carries, and its gate.

    The factor of a norm of what heads carry counts as part of the gate.

    Heads of a group are multiplied with its keys and values in one product, so that nothing is
    copied for each head, unless their scores have something of their own.
    """
    attn = block.attention
    batch, pos, _ = stream.shape
    n_heads, n_groups = attn.w_q.shape[0], attn.w_k.shape[0]
    slots = _project(attn, normalise(stream, block.norm_attn))
    for head, shift in query_shifts:
        shifted = normalise(stream + shift, block.norm_attn).flatten(0, 1)[None]
        rows = project_slot(attn, "q", [head], shifted)[0]
        slots["q"][:, :, head] = rows.unflatten(0, (batch, pos))
    slots["q"], gate = split_gate(attn, slots["q"])
    positions = torch.arange(pos, device=stream.device)
    q, k, v = (
        finish_rows(x.permute(2, 0, 1, 3), attn, slot, range(x.shape[2]), positions).transpose(0, 1)
        for slot, x in slots.items()
    )
    allowed = visible_keys(attn, pos, stream.device)
    if attn.alibi is None and attn.sinks is None and attn.difference is None:
        grouped = q.reshape(batch, n_groups, -1, q.shape[-1])
        hidden = ~allowed.repeat(attn.heads_per_kv, 1)
        scores = scaled_scores(grouped, k, attn).masked_fill(hidden, float("-inf"))
        pattern = scores.softmax(dim=-1)
    else:
        keys = k.repeat_interleave(attn.heads_per_kv, dim=1).transpose(0, 1)
        every = range(n_heads)
        own = attention_pattern(q.transpose(0, 1), keys, attn, every, positions, allowed)
        pattern = own.transpose(0, 1).reshape(batch, n_groups, -1, pos)
    carried = (pattern @ v).view(batch, n_heads, pos, -1).transpose(1, 2)
    if gate is not None:
        carried = carried * gate
    scale = mixed_scale(attn, carried, 2)
    if scale is not None:
        scale = scale.expand(batch, pos, n_heads, 1)
        carried, gate = carried * scale, scale if gate is None else gate * scale
    return pattern.view(batch, n_heads, pos, pos), v, carried, gate


def _project(attn: Attention, x: Stream) -> dict[Slot, Float[Tensor, "batch pos n _"]]:
    """The queries, keys and values of every head or group, from one product where it can be one."""
    matrices, sizes = list(attn.matrices.values()), [len(w) for w in attn.matrices.values()]
    every = range(attn.w_q.shape[0])
    latent = any(latent is not None for latent in attn.latents.values())
    if latent or len({w.shape[2] for w in matrices}) > 1:
        of_slot = {"q": every, "k": every[:: attn.heads_per_kv], "v": every[:: attn.heads_per_kv]}
        rows = x.flatten(0, 1)[None]
        return {
            slot: project_slot(attn, slot, of_slot[slot], rows)
            .unflatten(1, x.shape[:2])
            .permute(1, 2, 0, 3)
            for slot in SLOTS
        }
    # Filled head by head: joining transposed copies would take half as long as the product.
    wide = x.new_empty(x.shape[-1], sum(sizes), attn.d_qk)
    for columns, w in zip(wide.split(sizes, dim=1), matrices, strict=True):
        columns.copy_(w.transpose(0, 1))
    out = (x.flatten(0, 1) @ wide.flatten(1)).view(*x.shape[:2], *wide.shape[1:])
    parts = zip(attn.biases.items(), out.split(sizes, dim=2), strict=True)
    return {slot: part if bias is None else part + bias for (slot, bias), part in parts}
