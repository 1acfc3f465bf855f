"""The residual stream of the whole model, wherever a node reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.forward import SourceOutputs, mlp_written
from acdc_pipeline.engine.layer_heads import attention_written
from acdc_pipeline.graph import INPUT, Node, Receiver
from acdc_pipeline.models.weights import Block, TransformerWeights

Stream = Float[Tensor, "batch pos d_model"]


@dataclass(frozen=True)
class Streams:
    """What the nodes of one forward read, or of its later part.

    Args:
        heads: by layer, what its heads read.
        mlps: by layer, what its MLP reads; the same stream in parallel blocks.
        final: what the logits read.
    """

    heads: Mapping[int, Stream]
    mlps: Mapping[int, Stream]
    final: Stream

    def read_by(self, receiver: Receiver) -> Stream:
        """What `receiver` reads when every edge is there."""
        layer = receiver.node.layer
        if layer is None:
            return self.final
        return self.heads[layer] if receiver.node.kind == "head" else self.mlps[layer]

    def of_prompts(self, chosen: slice) -> Streams:
        """Those of some prompts."""
        return Streams(
            {layer: stream[chosen] for layer, stream in self.heads.items()},
            {layer: stream[chosen] for layer, stream in self.mlps.items()},
            self.final[chosen],
        )


def streams_of(weights: TransformerWeights, clean: SourceOutputs) -> Streams:
    """The streams of a forward whose outputs are known: sums of them."""
    n_heads, n = weights.topology.n_heads, 1
    residual = clean.outputs[0]
    heads: dict[int, Stream] = {}
    mlps: dict[int, Stream] = {}
    for layer, block in enumerate(weights.blocks):
        heads[layer] = residual
        attended = _with_bias(residual + clean.outputs[n : n + n_heads].sum(0), block)
        n += n_heads
        residual = attended
        if block.mlp is not None:
            mlps[layer] = heads[layer] if weights.parallel else attended
            residual = attended + clean.outputs[n]
            n += 1
    return Streams(heads, mlps, clean.final)


def run_streams(weights: TransformerWeights, embedded: Stream) -> Streams:
    """The streams of a forward that begins with `embedded` in place of the tokens' embedding."""
    return _from_block(weights, embedded, 0)


def changed_streams(
    weights: TransformerWeights,
    clean: Streams,
    source: Node,
    change: Float[Tensor, "state batch pos d_model"],
) -> Streams:
    """The streams after `source`, if it writes `change` more than in the run that `clean` is of.

    `change` may belong to several heads of one layer together; any of them stands for `source`.
    The streams that come back hold all prompts, once for each state, one state after the other.
    Nodes that cannot see the change are left out.
    """
    if source == INPUT:
        return _from_block(weights, _plus(clean.heads[0], change), 0)
    assert source.layer is not None
    layer = source.layer
    if source.kind == "head" and layer in clean.mlps and not weights.parallel:
        return _from_mlp(weights, _plus(clean.mlps[layer], change), layer)
    after = clean.heads.get(layer + 1, clean.final)
    return _from_block(weights, _plus(after, change), layer + 1)


def _from_block(weights: TransformerWeights, residual: Stream, first: int) -> Streams:
    heads: dict[int, Stream] = {}
    mlps: dict[int, Stream] = {}
    for layer in range(first, len(weights.blocks)):
        block = weights.blocks[layer]
        heads[layer] = residual
        attended = _with_bias(residual + attention_written(block, residual), block)
        if block.mlp is not None:
            mlps[layer] = residual if weights.parallel else attended
            attended = attended + mlp_written(block, mlps[layer])
        residual = attended
    return Streams(heads, mlps, residual)


def _from_mlp(weights: TransformerWeights, attended: Stream, layer: int) -> Streams:
    written = mlp_written(weights.blocks[layer], attended)
    rest = _from_block(weights, attended + written, layer + 1)
    return Streams(rest.heads, {layer: attended, **rest.mlps}, rest.final)


def _plus(
    stream: Stream, change: Float[Tensor, "state batch pos d_model"]
) -> Float[Tensor, "_ pos d_model"]:
    """What the prompts of every state have there."""
    return (stream + change).flatten(0, 1)


def _with_bias(attended: Stream, block: Block) -> Stream:
    return attended if block.attn.b_o is None else attended + block.attn.b_o
