"""A transformer as plain tensors, independent of the library that loaded it."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.graph import Topology
from acdc_pipeline.models.device import Precision
from acdc_pipeline.text import pluralize

NormKind = Literal["layer", "rms", "none"]
Activation = Literal["gelu", "gelu_tanh", "relu", "silu"]


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
    """Normalisation of queries or keys, before their rotation.

    Args:
        kind: as for `Norm`; there is no bias.
        weight: one row per query or key/value head.
        eps: added to the variance or mean square.
        across: `head` normalises each head over its own dimensions; `layer` takes one mean square
            over all heads together (OLMo 2), which couples the heads of the layer.
    """

    kind: NormKind
    weight: Float[Tensor, "head d_head"]
    eps: float
    across: Literal["head", "layer"]


@dataclass(frozen=True)
class Attention:
    """One attention layer; query head h reads key/value head `h // (head / kv_head)`.

    Attention scores are q·k times `scale`, softly capped where `score_cap` is set:
    `cap * tanh(score / cap)`. A query sees itself and the `window - 1` keys before it, or all.
    """

    w_q: Float[Tensor, "head d_model d_head"]
    w_k: Float[Tensor, "kv_head d_model d_head"]
    w_v: Float[Tensor, "kv_head d_model d_head"]
    w_o: Float[Tensor, "head d_head d_model"]
    b_q: Float[Tensor, "head d_head"] | None
    b_k: Float[Tensor, "kv_head d_head"] | None
    b_v: Float[Tensor, "kv_head d_head"] | None
    b_o: Float[Tensor, " d_model"] | None
    scale: float
    rotary: Rotary | None
    direction: Literal["causal", "bidirectional"]
    window: int | None = None
    score_cap: float | None = None
    q_norm: HeadNorm | None = None
    k_norm: HeadNorm | None = None

    @property
    def heads_per_kv(self) -> int:
        """Query heads that share one key/value head; 1 without grouped-query attention."""
        return self.w_q.shape[0] // self.w_k.shape[0]


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


@dataclass(frozen=True)
class Block:
    """One layer. `norm_mlp` and `mlp` are None in attention-only models.

    `post_attn` and `post_mlp` normalise the outputs of attention and MLP before they are added to
    the residual stream (Gemma 2 and 3, OLMo 2). A head then writes its share of the normalised
    sum, w * r_h / rms(r_1 + r_2 + ...), which couples the heads of a layer. An attention bias
    would be a share that belongs to no node; such models are refused.
    """

    norm_attn: Norm
    attn: Attention
    norm_mlp: Norm | None
    mlp: Mlp | None
    post_attn: Norm | None = None
    post_mlp: Norm | None = None

    @property
    def coupled(self) -> bool:
        """Whether a norm after or across the heads makes their outputs depend on one another."""
        norms = (self.attn.q_norm, self.attn.k_norm)
        across = any(norm is not None and norm.across == "layer" for norm in norms)
        return across or self.post_attn is not None


@dataclass(frozen=True, repr=False)
class TransformerWeights:
    """A whole model.

    With `parallel`, attention and MLP of a block read the same residual stream. `w_e` includes
    the scale that some models apply to their embedding. Logits are softly capped where `logit_cap`
    is set: `cap * tanh(logit / cap)`.
    """

    w_e: Float[Tensor, "vocab_in d_model"]
    w_pos: Float[Tensor, "position d_model"] | None
    blocks: tuple[Block, ...]
    norm_final: Norm
    w_u: Float[Tensor, "d_model vocab"]
    b_u: Float[Tensor, " vocab"] | None
    parallel: bool
    n_ctx: int
    logit_cap: float | None = None

    def __repr__(self) -> str:
        graph = self.topology
        shape = (
            f"{pluralize(graph.n_layers, 'layer')} of {graph.n_heads} heads, width {self.d_model}"
        )
        return f"<weights: {shape}, {graph.n_edges} edges>"

    @property
    def topology(self) -> Topology:
        """Computational graph of this model."""
        first = self.blocks[0]
        return Topology(
            n_layers=len(self.blocks),
            n_heads=first.attn.w_q.shape[0],
            has_mlp=first.mlp is not None,
            parallel=self.parallel,
        )

    @property
    def coupled(self) -> bool:
        """Whether the heads of some layer are coupled, see `Block.coupled`."""
        return any(block.coupled for block in self.blocks)

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
        embedding, are not exact in that type and stay wide.
        """
        return _move(self, precision, device)


_MATRICES = frozenset({"w_e", "w_q", "w_k", "w_v", "w_o", "w_in", "w_gate", "w_out", "w_u"})


def _move(item: Any, precision: Precision, device: torch.device, name: str = "") -> Any:
    if isinstance(item, Tensor):
        wide = item.detach().to(dtype=precision.computed)
        held = wide.to(dtype=precision.held) if name in _MATRICES else wide
        exact = torch.equal(held.to(wide.dtype), wide)
        return (held if exact else wide).to(device=device).contiguous()
    if isinstance(item, tuple):
        return tuple(_move(part, precision, device) for part in item)
    if is_dataclass(item) and not isinstance(item, type):
        moved = {
            f.name: _move(getattr(item, f.name), precision, device, f.name) for f in fields(item)
        }
        return replace(item, **moved)
    return item
