"""Writes the weights of a compiled model, one read and one write at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.graph.edge import Slot
from acdc_pipeline.graph.topology import Topology
from acdc_pipeline.models.zoo.compiled.residual import Residual

D_HEAD = 16
"""Width of every head. Scores are divided by its root, 4, which rounds nothing."""

SHARP = 16.0
"""A query and a key written at this scale score 16 * 16 / 4 = 64 when they match.

Half of that apart, the softmax gives the loser exp(-32) = 1e-14: one-hot for every purpose, and
finite in every floating-point type.
"""


@dataclass(frozen=True)
class Shape:
    """Sizes of a compiled model. `d_mlp` is 0 for an attention-only one."""

    residual: Residual
    n_layers: int
    n_heads: int
    n_ctx: int
    vocab: int
    d_mlp: int = 0

    @property
    def topology(self) -> Topology:
        """The graph of a model of this shape."""
        return Topology(self.n_layers, self.n_heads, has_mlp=self.d_mlp > 0)

    @property
    def config(self) -> dict[str, Any]:
        """The fields of its `TransformerBridgeConfig`: no normalisation, learned positions."""
        fields: dict[str, Any] = {
            "n_layers": self.n_layers,
            "d_model": self.residual.d_model,
            "d_head": D_HEAD,
            "n_heads": self.n_heads,
            "n_ctx": self.n_ctx,
            "d_vocab": self.vocab,
            "attn_only": self.d_mlp == 0,
            "normalization_type": None,
            "positional_embedding_type": "standard",
            "init_weights": False,
        }
        return fields | ({"d_mlp": self.d_mlp, "act_fn": "relu"} if self.d_mlp else {})


class Builder:
    """The weights so far; every method adds to them, and what is never written stays zero.

    Matrices are given in the coordinates of a named subspace of the residual stream, so a
    program says which subspace a head reads and writes, which is its circuit.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        d_model, heads = shape.residual.d_model, shape.n_heads
        self._tensors = {
            "embed.W_E": _zeros(shape.vocab, d_model),
            "pos_embed.W_pos": _zeros(shape.n_ctx, d_model),
            "unembed.W_U": _zeros(d_model, shape.vocab),
            "unembed.b_U": _zeros(shape.vocab),
        }
        for layer in range(shape.n_layers):
            attn = f"blocks.{layer}.attn"
            for slot in "QKV":
                self._tensors[f"{attn}.W_{slot}"] = _zeros(heads, d_model, D_HEAD)
                self._tensors[f"{attn}.b_{slot}"] = _zeros(heads, D_HEAD)
            self._tensors[f"{attn}.W_O"] = _zeros(heads, D_HEAD, d_model)
            self._tensors[f"{attn}.b_O"] = _zeros(d_model)
            if shape.d_mlp:
                mlp = f"blocks.{layer}.mlp"
                self._tensors[f"{mlp}.W_in"] = _zeros(d_model, shape.d_mlp)
                self._tensors[f"{mlp}.b_in"] = _zeros(shape.d_mlp)
                self._tensors[f"{mlp}.W_out"] = _zeros(shape.d_mlp, d_model)
                self._tensors[f"{mlp}.b_out"] = _zeros(d_model)

    def embed(self, subspace: str, codes: Float[Tensor, "vocab width"]) -> None:
        """Token t is written into `subspace` as row t of `codes`."""
        self._tensors["embed.W_E"][:, self.shape.residual[subspace]] += codes

    def embed_positions(self, subspace: str, codes: Float[Tensor, "pos width"]) -> None:
        """Position p is written into `subspace` as row p of `codes`."""
        self._tensors["pos_embed.W_pos"][:, self.shape.residual[subspace]] += codes

    def read(
        self,
        layer: int,
        head: int,
        slot: Slot,
        subspace: str,
        matrix: Float[Tensor, "width d_head"],
    ) -> None:
        """The head's `slot` reads `subspace` through `matrix`."""
        weight = self._tensors[f"blocks.{layer}.attn.W_{slot.upper()}"]
        weight[head, self.shape.residual[subspace]] += matrix

    def bias(self, layer: int, head: int, slot: Slot, vector: Float[Tensor, " d_head"]) -> None:
        """The head's `slot` holds `vector` whatever it reads."""
        self._tensors[f"blocks.{layer}.attn.b_{slot.upper()}"][head] += vector

    def write(
        self, layer: int, head: int, subspace: str, matrix: Float[Tensor, "d_head width"]
    ) -> None:
        """The head writes its value into `subspace` through `matrix`."""
        weight = self._tensors[f"blocks.{layer}.attn.W_O"]
        weight[head, :, self.shape.residual[subspace]] += matrix

    def carry(self, layer: int, head: int, reads: str, writes: str, scale: float = 1.0) -> None:
        """What `reads` holds where the head looks goes into `writes`, times `scale`."""
        width = self.shape.residual.widths[reads]
        self.read(layer, head, "v", reads, into_head(width))
        self.write(layer, head, writes, out_of_head(width, scale))

    def unit(
        self,
        layer: int,
        index: int,
        *,
        reads: Mapping[str, Float[Tensor, " _"]],
        bias: float,
        writes: Mapping[str, Float[Tensor, " _"]],
    ) -> None:
        """Hidden unit `index` of the MLP: relu(reads + bias), times `writes`, by subspace."""
        mlp = f"blocks.{layer}.mlp"
        self._tensors[f"{mlp}.b_in"][index] += bias
        for subspace, vector in reads.items():
            self._tensors[f"{mlp}.W_in"][self.shape.residual[subspace], index] += vector
        for subspace, vector in writes.items():
            self._tensors[f"{mlp}.W_out"][index, self.shape.residual[subspace]] += vector

    def unembed(self, subspace: str, matrix: Float[Tensor, "width vocab"]) -> None:
        """The logits read `subspace` through `matrix`."""
        self._tensors["unembed.W_U"][self.shape.residual[subspace]] += matrix

    def unembed_bias(self, token: int, value: float) -> None:
        """The logit that `token` has whatever the model reads."""
        self._tensors["unembed.b_U"][token] += value

    def tensors(self) -> dict[str, Tensor]:
        """A float32 copy under TransformerLens names (see `models/tl_format`)."""
        return {name: tensor.float() for name, tensor in self._tensors.items()}


def into_head(width: int, scale: float = 1.0) -> Float[Tensor, "width d_head"]:
    """A subspace of `width` coordinates as the first coordinates of a head, times `scale`."""
    return scale * torch.eye(width, D_HEAD, dtype=torch.float64)


def out_of_head(width: int, scale: float = 1.0) -> Float[Tensor, "d_head width"]:
    """The first coordinates of a head as a subspace of `width` coordinates, times `scale`."""
    return scale * torch.eye(D_HEAD, width, dtype=torch.float64)


def flag(index: int, width: int, scale: float = 1.0) -> Float[Tensor, " width"]:
    """A vector with `scale` at `index` and zeros elsewhere."""
    vector = _zeros(width)
    vector[index] = scale
    return vector


def _zeros(*size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.float64)
