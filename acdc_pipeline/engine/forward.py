"""The forward pass, with the output of every source kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.attention import normalise_outputs, run_attention, run_heads, visible_keys
from acdc_pipeline.engine.components import (
    Stream,
    mlp_output,
    module_output,
    normalise,
    soft_cap,
    widen,
)
from acdc_pipeline.engine.experts import run_experts
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.spill import Spill, empty
from acdc_pipeline.errors import PromptError
from acdc_pipeline.graph import Node, Receiver
from acdc_pipeline.models.own_modules import Mixture
from acdc_pipeline.models.weights import Block, TransformerWeights


@dataclass(frozen=True)
class SourceOutputs:
    """The result of one forward pass.

    Args:
        outputs: what each source writes to the residual stream, in the topology's source order.
        final: the residual stream that the logits read, constants included.
    """

    outputs: Float[Tensor, "src batch pos d_model"]
    final: Stream


def run_sources(
    weights: TransformerWeights, tokens: Int[Tensor, "batch pos"], spill: Spill | None = None
) -> SourceOutputs:
    """Run the unpatched model and return the output of every source.

    Args:
        spill: where the outputs are kept; None for the device's memory.

    Raises:
        PromptError: the prompts are longer than the model's context or contain unknown tokens.
    """
    check_tokens(weights, tokens)
    return run_sources_from(weights, embed(weights, tokens), spill)


def run_sources_from(
    weights: TransformerWeights, residual: Stream, spill: Spill | None = None
) -> SourceOutputs:
    """`run_sources` where `input` writes `residual`."""
    outputs = empty((len(weights.topology.sources), *residual.shape), residual, spill)
    done = 0

    def keep(written: Float[Tensor, "n batch pos d_model"]) -> None:
        nonlocal done
        outputs[done : done + len(written)] = written
        done += len(written)

    keep(residual[None])
    for layer, block in enumerate(weights.blocks):
        attended = residual
        if block.attn is not None:
            allowed = visible_keys(block.attn, residual.shape[1], residual.device)
            heads = run_heads(block.attn, normalise(residual, block.norm_attn), allowed)
            heads = normalise_outputs(block, heads)
            attended = _with_bias(residual + heads.sum(0), block)
            keep(heads)
        if block.mixer is not None:
            mixed = run_mixer(block, residual)
            attended = attended + mixed
            keep(mixed[None])
        if block.mlp is not None:
            read = residual if weights.parallel else attended
            of_mlp = weights.topology.mlp_sources(layer)
            written = run_mlp_nodes(block, read[None], range(len(of_mlp)))
            keep(written)
            attended = attended + (written[0] if len(written) == 1 else written.sum(0))
        residual = attended
    return SourceOutputs(outputs, residual)


def subtract_outputs(
    ablated: Float[Tensor, "src batch pos d_model"], clean: SourceOutputs, spill: Spill | None
) -> Float[Tensor, "src batch pos d_model"]:
    """Ablated minus clean output of every source, kept in the `spill` where there is one."""
    if spill is None:
        return ablated - clean.outputs
    return torch.sub(
        ablated, clean.outputs, out=spill.empty(tuple(clean.outputs.shape), clean.outputs)
    )


def embed(weights: TransformerWeights, tokens: Int[Tensor, "batch pos"]) -> Stream:
    """Embed tokens, with the position embedding where the model has one."""
    embedded = weights.w_e[tokens].to(weights.dtype)
    return embedded if weights.w_pos is None else embedded + weights.w_pos[: tokens.shape[1]]


def unembed(
    weights: TransformerWeights,
    final: Float[Tensor, "*rows d_model"],
    tokens: Int[Tensor, " token"] | None = None,
) -> Float[Tensor, "*rows _"]:
    """The logits of a final residual stream, for some `tokens` or the whole vocabulary."""
    w_u, b_u = weights.w_u, weights.b_u
    if tokens is not None:
        w_u, b_u = w_u[:, tokens], None if b_u is None else b_u[tokens]
    logits = normalise(final, weights.norm_final) @ widen(w_u, final)
    if b_u is not None:
        logits = logits + b_u
    return soft_cap(logits, weights.logit_cap)


def run_mlp(block: Block, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
    """The output of a block's MLP for input `x`, with the norms before and after it."""
    assert block.mlp is not None
    assert block.norm_mlp is not None, "a block with an MLP has a norm before it"
    written = mlp_output(normalise(x, block.norm_mlp), block.mlp)
    return written if block.post_mlp is None else normalise(written, block.post_mlp)


def run_mlp_nodes(
    block: Block, inputs: Float[Tensor, "n_read *rows d_model"], some: Sequence[int]
) -> Float[Tensor, "n *rows d_model"]:
    """The outputs of the MLP, or of `some` of the nodes that it is split into.

    Arguments are those of `run_experts`; an MLP that is one node has one input and one output.
    """
    if isinstance(block.mlp, Mixture):
        return run_experts(block, inputs, some)
    return run_mlp(block, inputs)


def run_mixer(
    block: Block, x: Float[Tensor, "*lead pos d_model"]
) -> Float[Tensor, "*lead pos d_model"]:
    """The output of a block's mixer for input `x`, with the norms before and after it."""
    assert block.mixer is not None
    normalised = normalise(x, block.norm_attn)
    written = module_output(block.mixer, normalised.flatten(0, -3)).view(x.shape)
    return written if block.post_mixer is None else normalise(written, block.post_mixer)


def run_mixer_rows(
    block: Block, rows: Float[Tensor, "*lead rows d_model"], layout: Layout
) -> Float[Tensor, "*lead rows d_model"]:
    """`run_mixer` on the rows of every prompt and position."""
    x = rows.unflatten(-2, (layout.batch, layout.pos))
    return run_mixer(block, x).flatten(-3, -2)


def context_length(weights: TransformerWeights) -> int:
    """The largest number of tokens for which the model has positions."""
    tables = [attn.n_positions for attn in weights.attentions]
    return min([weights.n_ctx, *(length for length in tables if length is not None)])


def head_width(weights: TransformerWeights) -> int:
    """The width of the widest projection of a head, for estimates of memory; 0 without heads."""
    return max((attn.widest for attn in weights.attentions), default=0)


def mlp_width(weights: TransformerWeights) -> int:
    """The number of hidden units that a token uses in the widest MLP or mixer; 0 without any."""
    parts = [part for block in weights.shapes for part in (block.mlp, block.mixer)]
    return max(0 if part is None else part.width for part in parts)


def expert_receivers(weights: TransformerWeights) -> int:
    """The largest number of receivers of one mixture, for estimates; 0 if no expert is a node."""
    experts = weights.topology.experts
    return 2 + max(experts) if experts else 0


def check_tokens(weights: TransformerWeights, tokens: Int[Tensor, "batch pos"]) -> None:
    """Raise PromptError if the model has no position or no embedding for some token."""
    longest = context_length(weights)
    if tokens.shape[1] > longest:
        raise PromptError(
            f"prompts of {tokens.shape[1]} tokens do not fit the model's {longest} positions",
            fix="use shorter prompts",
        )
    vocab = weights.w_e.shape[0]
    if tokens.numel() and (int(tokens.min()) < 0 or int(tokens.max()) >= vocab):
        bad = int(tokens.max()) if int(tokens.max()) >= vocab else int(tokens.min())
        raise PromptError(f"token id {bad} is outside the model's vocabulary of {vocab}")


@dataclass(frozen=True)
class Streams:
    """The residual stream wherever a node reads it, in one forward pass or its later part.

    Args:
        heads: by layer, the input of its heads.
        mixers: by layer, the input of its mixer.
        mlps: by layer, the input of its MLP, of its experts and their router; the same stream in
            parallel blocks.
        final: the input of the logits.
    """

    heads: Mapping[int, Stream]
    mixers: Mapping[int, Stream]
    mlps: Mapping[int, Stream]
    final: Stream

    def read_by(self, receiver: Receiver) -> Stream:
        """The input of `receiver` when every edge is present."""
        layer = receiver.node.layer
        if layer is None:
            return self.final
        of_kind = {"head": self.heads, "mixer": self.mixers}
        return of_kind.get(receiver.node.kind, self.mlps)[layer]

    def before(self, layer: int) -> Stream:
        """The stream that `layer` reads; the final one after the last layer."""
        for streams in (self.heads, self.mixers, self.mlps):
            if layer in streams:
                return streams[layer]
        return self.final

    def of_prompts(self, chosen: slice) -> Streams:
        """The streams of some prompts."""
        heads, mixers, mlps = (
            {layer: stream[chosen] for layer, stream in streams.items()}
            for streams in (self.heads, self.mixers, self.mlps)
        )
        return Streams(heads, mixers, mlps, self.final[chosen])


def streams_from_outputs(weights: TransformerWeights, clean: SourceOutputs) -> Streams:
    """The streams of a forward pass, as sums of its known outputs."""
    topology = weights.topology
    residual = clean.outputs[0]
    heads: dict[int, Stream] = {}
    mixers: dict[int, Stream] = {}
    mlps: dict[int, Stream] = {}
    for layer, block in enumerate(weights.blocks):
        before = residual
        if block.attn is not None:
            heads[layer] = before
            at = topology.head_sources(layer)
            residual = _with_bias(residual + clean.outputs[at.start : at.stop].sum(0), block)
        at_mixer, of_mlp = topology.mixer_source(layer), topology.mlp_sources(layer)
        if at_mixer is not None:
            mixers[layer] = before
            residual = residual + clean.outputs[at_mixer]
        if of_mlp:
            mlps[layer] = before if weights.parallel else residual
            written = clean.outputs[of_mlp.start : of_mlp.stop]
            residual = residual + (written[0] if len(written) == 1 else written.sum(0))
    return Streams(heads, mixers, mlps, clean.final)


def run_streams(weights: TransformerWeights, residual: Stream, first: int = 0) -> Streams:
    """Run the model from layer `first` on, which reads `residual`."""
    heads: dict[int, Stream] = {}
    mixers: dict[int, Stream] = {}
    mlps: dict[int, Stream] = {}
    for layer in range(first, len(weights.blocks)):
        block = weights.blocks[layer]
        attended = residual
        if block.attn is not None:
            heads[layer] = residual
            attended = _with_bias(residual + run_attention(block, residual), block)
        if block.mixer is not None:
            mixers[layer] = residual
            attended = attended + run_mixer(block, residual)
        if block.mlp is not None:
            mlps[layer] = residual if weights.parallel else attended
            attended = attended + run_mlp(block, mlps[layer])
        residual = attended
    return Streams(heads, mixers, mlps, residual)


def changed_streams(
    weights: TransformerWeights,
    clean: Streams,
    source: Node,
    change: Float[Tensor, "state batch pos d_model"],
) -> Streams:
    """Run the model from `source` on, with `change` added to its output in the run of `clean`.

    `change` may be the sum over several heads and the mixer of one layer; `source` is then any of
    them. The
    result holds all prompts of the first state, then all of the next. Nodes that cannot see the
    change are left out.
    """
    layer = -1 if source.layer is None else source.layer  # the input is read by layer 0
    beside = source.kind in ("head", "mixer")
    if beside and layer in clean.mlps and not weights.parallel:
        attended = (clean.mlps[layer] + change).flatten(0, 1)
        residual = attended + run_mlp(weights.blocks[layer], attended)
        rest = run_streams(weights, residual, layer + 1)
        return Streams(rest.heads, rest.mixers, {layer: attended, **rest.mlps}, rest.final)
    return run_streams(weights, (clean.before(layer + 1) + change).flatten(0, 1), layer + 1)


def _with_bias(attended: Stream, block: Block) -> Stream:
    bias = None if block.attn is None else block.attn.b_o
    return attended if bias is None else attended + bias
