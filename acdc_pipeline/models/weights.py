"""A transformer as plain tensors, independent of the library that loaded it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.graph import Slot, Topology
from acdc_pipeline.graph.spans import GraphSpans
from acdc_pipeline.models.device import Precision
from acdc_pipeline.models.mapped import MappedBlocks
from acdc_pipeline.models.moving import move
from acdc_pipeline.models.own_modules import Mixer, Mixture, TokenModule
from acdc_pipeline.text import pluralize

NormKind = Literal["layer", "rms", "none"]
Activation = Literal["gelu", "gelu_tanh", "relu", "relu_squared", "silu"]


class RotaryPairs(Enum):
    """Pairing of the dimensions of a head that rotate together."""

    HALVES = "halves"
    """Dimension i with i + d/2 (Hugging Face Llama, GPT-NeoX)."""
    ADJACENT = "adjacent"
    """Dimension 2i with 2i + 1 (GPT-J, TransformerLens native)."""


@dataclass(frozen=True)
class Norm:
    """A normalisation, with or without weight and bias."""

    kind: NormKind
    weight: Float[Tensor, " d_model"] | None
    bias: Float[Tensor, " d_model"] | None
    eps: float


@dataclass(frozen=True)
class Rotary:
    """Rotary position embedding: tables by position, for the first dimensions of each head."""

    cos: Float[Tensor, "position rotary"]
    sin: Float[Tensor, "position rotary"]
    pairs: RotaryPairs


@dataclass(frozen=True)
class HeadNorm:
    """Normalisation of queries, keys or values.

    Args:
        kind: as for `Norm`.
        weight: one row per query or key/value head; None for a norm without weights.
        eps: added to the variance or mean square.
        across: `head` normalises each head over its own dimensions; `layer` takes one mean square
            over all heads together (OLMo 2), which couples the heads of the layer.
        bias: one row per query or key/value head.
        after_rotation: whether queries and keys are rotated first (Llama 4, NanoChat).
    """

    kind: NormKind
    weight: Float[Tensor, "head d_head"] | None
    eps: float
    across: Literal["head", "layer"]
    bias: Float[Tensor, "head d_head"] | None = None
    after_rotation: bool = False


@dataclass(frozen=True)
class Latent:
    """What the matrices of a slot read instead of the layer's normalised input x.

        [norm(x down + bias) | direct_norm(x direct)]

    The latents of multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): keys
    and values share `down` and `norm`, and `direct` gives the keys that all heads share. Each slot
    of a head computes its latent from its own input.
    """

    down: Float[Tensor, "d_model rank"]
    bias: Float[Tensor, " rank"] | None = None
    norm: Norm | None = None
    direct: Float[Tensor, "d_model d_direct"] | None = None
    direct_norm: Norm | None = None


@dataclass(frozen=True)
class Difference:
    """The difference of two attention patterns (differential attention, arXiv 2410.05258, eq. 1-3).

    A head has two queries and two keys, each pair side by side in its columns, and one row of
    values. Its pattern is softmax(q1 k1) - `factor` * softmax(q2 k2), whose weights may be negative
    and sum to 1 - `factor`. What it carries is divided by its own root mean square, times `scale`.

    Args:
        factor: the lambda of the layer.
        eps: added to the mean square.
        scale: 1 - lambda_init.
    """

    factor: Float[Tensor, ""]
    eps: float
    scale: float


@dataclass(frozen=True)
class Attention:
    """One attention layer; query head h reads key/value head `h // (head / kv_head)`.

    Attention scores are q·k times `scale`, softly capped where `score_cap` is set:
    `cap * tanh(score / cap)`. A query sees itself and the `window - 1` keys before it, or all; with
    `chunk`, only keys of its own stretch of that many positions (Llama 4).

    Queries, keys and values are projected, normalised, clamped and rotated in this order.

    Args:
        w_q: has the columns of `gate` after those of the queries.
        sinks: a score per head that takes part in the softmax and carries no value, so that the
            attention of a query sums to less than 1 (gpt-oss).
        alibi: a bias of each key position; the score of query i and key j gets
            `alibi[j] - alibi[i]` after the cap. For slopes (Press et al. 2022, arXiv 2108.12409) it
            is the slope times the position.
        clip: queries, keys and values are clamped to `[-clip, clip]`.
        gate: the mixed values of a head are multiplied by the `gate_function` of further columns of
            its query projection, which read the input of its `q` slot: `elements`, one for each
            dimension of the values (Qwen3-Next); `heads`, one for the whole head (Step 3.7).
        q_latent, k_latent, v_latent: what `w_q`, `w_k` and `w_v` read; None for the layer's
            normalised input itself.
        query_scale: a factor of the query at each position (Llama 4).
        z_norm_eps: the eps of a norm of what all heads together carry before `w_o`, which has the
            norm's weight folded in: each row is divided by its root mean square (BitNet). It
            couples the heads of the layer. None without it.
        difference: a head subtracts one pattern from another (DiffLlama); None for one pattern.
    """

    w_q: Float[Tensor, "head q_in q_out"]
    w_k: Float[Tensor, "kv_head k_in d_qk"]
    w_v: Float[Tensor, "kv_head v_in d_v"]
    w_o: Float[Tensor, "head d_v d_model"]
    b_q: Float[Tensor, "head q_out"] | None
    b_k: Float[Tensor, "kv_head d_qk"] | None
    b_v: Float[Tensor, "kv_head d_v"] | None
    b_o: Float[Tensor, " d_model"] | None
    scale: float
    rotary: Rotary | None
    direction: Literal["causal", "bidirectional"]
    window: int | None = None
    score_cap: float | None = None
    q_norm: HeadNorm | None = None
    k_norm: HeadNorm | None = None
    v_norm: HeadNorm | None = None
    sinks: Float[Tensor, " head"] | None = None
    alibi: Float[Tensor, "head position"] | None = None
    clip: float | None = None
    gate: Literal["elements", "heads"] | None = None
    q_latent: Latent | None = None
    k_latent: Latent | None = None
    v_latent: Latent | None = None
    query_scale: Float[Tensor, " position"] | None = None
    chunk: int | None = None
    z_norm_eps: float | None = None
    gate_function: Literal["sigmoid", "softplus"] = "sigmoid"
    difference: Difference | None = None

    @property
    def heads_per_kv(self) -> int:
        """Query heads that share one key/value head; 1 without grouped-query attention."""
        return self.w_q.shape[0] // self.w_k.shape[0]

    @property
    def d_qk(self) -> int:
        """Width of a query or key, of both in a difference, without the columns of a gate."""
        return self.w_k.shape[2]

    @property
    def widest(self) -> int:
        """Width of the widest projection of a head, a gate included: what memory is counted by."""
        return max(self.w_q.shape[2], self.d_qk, self.w_v.shape[2])

    @property
    def matrices(self) -> dict[Slot, Float[Tensor, "n d_in d_out"]]:
        """The projection of each slot."""
        return {"q": self.w_q, "k": self.w_k, "v": self.w_v}

    @property
    def biases(self) -> dict[Slot, Float[Tensor, "n d_out"] | None]:
        """The projection bias of each slot."""
        return {"q": self.b_q, "k": self.b_k, "v": self.b_v}

    @property
    def norms(self) -> dict[Slot, HeadNorm | None]:
        """The norm of each slot."""
        return {"q": self.q_norm, "k": self.k_norm, "v": self.v_norm}

    @property
    def latents(self) -> dict[Slot, Latent | None]:
        """The latent of each slot."""
        return {"q": self.q_latent, "k": self.k_latent, "v": self.v_latent}

    @property
    def n_positions(self) -> int | None:
        """The number of positions that its tables hold; None without tables."""
        tables = [] if self.rotary is None else [len(self.rotary.cos)]
        tables += [] if self.alibi is None else [self.alibi.shape[1]]
        tables += [] if self.query_scale is None else [len(self.query_scale)]
        return min(tables, default=None)


@dataclass(frozen=True)
class Mlp:
    """One MLP: `act(x W_in + b_in) W_out + b_out`.

    With a gate the hidden units are `act(x W_gate + b_gate) * (x W_in + b_in)`.
    """

    w_in: Float[Tensor, "d_model d_mlp"]
    b_in: Float[Tensor, " d_mlp"] | None
    w_gate: Float[Tensor, "d_model d_mlp"] | None
    w_out: Float[Tensor, "d_mlp d_model"]
    b_out: Float[Tensor, " d_model"] | None
    activation: Activation
    b_gate: Float[Tensor, " d_mlp"] | None = None

    @property
    def n_weights(self) -> int:
        """Number of entries in its matrices."""
        matrices = (self.w_in, self.w_gate, self.w_out)
        return sum(matrix.numel() for matrix in matrices if matrix is not None)

    @property
    def width(self) -> int:
        """Number of hidden units."""
        return self.w_in.shape[1]


@dataclass(frozen=True)
class Block:
    """One layer of heads, a mixer and an MLP; parts that it does not have are None.

    `norm_attn` normalises what heads and mixer read, the same stream; in a layer of an MLP alone
    nothing uses it.

    `post_attn`, `post_mixer` and `post_mlp` normalise the outputs of attention, mixer and MLP
    before they are added to the residual stream (Gemma 2 and 3, OLMo 2). A head then writes its
    share of the normalised sum, w * r_h / rms(r_1 + r_2 + ...), which couples the heads of a layer.
    An attention bias would be a share that belongs to no node; such models are refused.
    """

    norm_attn: Norm
    attn: Attention | None
    norm_mlp: Norm | None
    mlp: Mlp | TokenModule | None
    post_attn: Norm | None = None
    post_mlp: Norm | None = None
    mixer: Mixer | None = None
    post_mixer: Norm | None = None

    @property
    def attention(self) -> Attention:
        """The attention of a layer that has heads."""
        assert self.attn is not None
        return self.attn

    @property
    def parts(self) -> str:
        """The letters of its parts, see `Topology`."""
        parts = {"a": self.attn, "r": self.mixer, "m": self.mlp}
        return "".join(letter for letter, part in parts.items() if part is not None)

    @property
    def coupled(self) -> bool:
        """Whether a norm after or across the heads makes their outputs depend on one another."""
        if self.attn is None:
            return False
        norms = self.attn.norms.values()
        across = any(norm is not None and norm.across == "layer" for norm in norms)
        return across or self.post_attn is not None or self.attn.z_norm_eps is not None


@dataclass(frozen=True, repr=False)
class TransformerWeights:
    """A whole model.

    With `parallel`, all parts of a block read the same residual stream. Layers that have heads have
    equally many. `w_e` includes
    the scale that some models apply to their embedding. Logits are softly capped where `logit_cap`
    is set: `cap * tanh(logit / cap)`. `blocks` may be `MappedBlocks`, read when they are needed.
    `spans` are those of the prompts, where the edges of the graph have spans.
    """

    w_e: Float[Tensor, "vocab_in d_model"]
    w_pos: Float[Tensor, "position d_model"] | None
    blocks: Sequence[Block]
    norm_final: Norm
    w_u: Float[Tensor, "d_model vocab"]
    b_u: Float[Tensor, " vocab"] | None
    parallel: bool
    n_ctx: int
    logit_cap: float | None = None
    spans: GraphSpans | None = None

    def __repr__(self) -> str:
        graph = self.topology
        layers = f"{pluralize(graph.n_layers, 'layer')} of {graph.n_heads} heads"
        if graph.layers:
            layers = str(graph)
        return f"<weights: {layers}, width {self.d_model}, {graph.n_edges} edges>"

    @cached_property
    def topology(self) -> Topology:
        """Computational graph of this model."""
        n_heads = self.attentions[0].w_q.shape[0] if self.attentions else 0
        mixtures = [part if isinstance(part := b.mlp, Mixture) else None for b in self.shapes]
        topology = Topology.of_layers(
            (block.parts for block in self.shapes),
            n_heads,
            parallel=self.parallel,
            experts=(0 if part is None else part.n_experts for part in mixtures),
            shared=(i for i, part in enumerate(mixtures) if part is not None and part.shared),
        )
        return topology if self.spans is None else replace(topology, **vars(self.spans))

    @property
    def one_span(self) -> str | None:
        """The span of all edges, in a graph with one span for all tokens."""
        return self.spans.spans[0] if self.spans and len(self.spans.spans) == 1 else None

    @cached_property
    def without_one_span(self) -> TransformerWeights:
        """The model with a graph without spans where its own has `one_span`, else this one.

        The edges are as many, in the same order, and carry the same.
        """
        return self if self.one_span is None else replace(self, spans=None)

    @property
    def shapes(self) -> Sequence[Block]:
        """The blocks, for all but the values of their matrices, which may be in files alone."""
        return self.blocks.shapes if isinstance(self.blocks, MappedBlocks) else self.blocks

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """The attention of each layer that has heads; see `shapes`."""
        return tuple(block.attn for block in self.shapes if block.attn is not None)

    @property
    def bidirectional(self) -> bool:
        """Whether tokens see later ones."""
        return any(attn.direction == "bidirectional" for attn in self.attentions)

    @property
    def coupled(self) -> bool:
        """Whether the heads of some layer are coupled, see `Block.coupled`."""
        return any(block.coupled for block in self.shapes)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.w_e.shape[1]

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.w_e.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the activations."""
        return torch.float64 if self.w_e.dtype is torch.float64 else torch.float32

    def to(self, *, precision: Precision, device: torch.device) -> TransformerWeights:
        """Return the model in another floating-point type or on another device.

        Matrices are held in the narrow type where that loses nothing. Scaled ones, such as Gemma's
        embedding, are not exact in that type and stay wide, and so are those of a `TokenModule`.
        """
        return move(self, precision, device)
