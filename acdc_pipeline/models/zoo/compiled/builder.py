"""Set the weights of a compiled model through named subspaces of its residual stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.graph.edge import Slot
from acdc_pipeline.graph.topology import Topology

D_HEAD = 16
"""Width of every head. Its square root, by which scores are divided, is 4 and rounds nothing."""

SHARP = 16.0
"""Scale of queries and keys, at which a match scores 16 * 16 / 4 = 64.

A score half of that lower gets a weight of exp(-32) = 1e-14: attention is one-hot for every
purpose, and scores are finite in every floating-point type.
"""

SCRATCH = "scratch"
"""Subspace that only distractors write, and that nothing on the way to the logits reads."""


@dataclass(frozen=True)
class Residual:
    """A residual stream divided into named subspaces, in the order of `widths`."""

    widths: Mapping[str, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", MappingProxyType(dict(self.widths)))

    @property
    def d_model(self) -> int:
        """Width of the whole stream."""
        return sum(self.widths.values())

    def __getitem__(self, name: str) -> slice:
        """Return the coordinates of subspace `name`."""
        starts = dict(zip(self.widths, accumulate(self.widths.values(), initial=0), strict=False))
        return slice(starts[name], starts[name] + self.widths[name])


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
        """Graph of a model of this shape."""
        return Topology(self.n_layers, self.n_heads, has_mlp=self.d_mlp > 0)

    @property
    def config(self) -> dict[str, Any]:
        """Fields of its `TransformerBridgeConfig`: no normalisation, learned positions."""
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
    """Weights, zero at first, to which every method adds.

    Matrices use the coordinates of a named subspace of the residual stream. The subspaces that
    heads read and write define the circuit.
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
        """Write row t of `codes` into `subspace` for token t."""
        self._tensors["embed.W_E"][:, self.shape.residual[subspace]] += codes

    def embed_positions(self, subspace: str, codes: Float[Tensor, "pos width"]) -> None:
        """Write row p of `codes` into `subspace` at position p."""
        self._tensors["pos_embed.W_pos"][:, self.shape.residual[subspace]] += codes

    def read(
        self,
        layer: int,
        head: int,
        slot: Slot,
        subspace: str,
        matrix: Float[Tensor, "width d_head"],
    ) -> None:
        """Let the head's `slot` read `subspace` through `matrix`."""
        weight = self._tensors[f"blocks.{layer}.attn.W_{slot.upper()}"]
        weight[head, self.shape.residual[subspace]] += matrix

    def bias(self, layer: int, head: int, slot: Slot, vector: Float[Tensor, " d_head"]) -> None:
        """Add the constant `vector` to the head's `slot`."""
        self._tensors[f"blocks.{layer}.attn.b_{slot.upper()}"][head] += vector

    def write(
        self, layer: int, head: int, subspace: str, matrix: Float[Tensor, "d_head width"]
    ) -> None:
        """Let the head write its value into `subspace` through `matrix`."""
        weight = self._tensors[f"blocks.{layer}.attn.W_O"]
        weight[head, :, self.shape.residual[subspace]] += matrix

    def carry(self, layer: int, head: int, reads: str, writes: str, scale: float = 1.0) -> None:
        """Copy subspace `reads` from the attended position into `writes`, times `scale`."""
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
        """Let hidden unit `index` of the MLP add relu(reads + bias) times `writes`, by subspace."""
        mlp = f"blocks.{layer}.mlp"
        self._tensors[f"{mlp}.b_in"][index] += bias
        for subspace, vector in reads.items():
            self._tensors[f"{mlp}.W_in"][self.shape.residual[subspace], index] += vector
        for subspace, vector in writes.items():
            self._tensors[f"{mlp}.W_out"][index, self.shape.residual[subspace]] += vector

    def unembed(self, subspace: str, matrix: Float[Tensor, "width vocab"]) -> None:
        """Let the logits read `subspace` through `matrix`."""
        self._tensors["unembed.W_U"][self.shape.residual[subspace]] += matrix

    def unembed_bias(self, token: int, value: float) -> None:
        """Add the constant `value` to the logit of `token`."""
        self._tensors["unembed.b_U"][token] += value

    def tensors(self) -> dict[str, Tensor]:
        """Return a float32 copy under the names of `models/tl_format`."""
        return {name: tensor.float() for name, tensor in self._tensors.items()}


def one_hot(n: int) -> Float[Tensor, "_ width"]:
    """Return a code with one coordinate per symbol: products are 1 if equal, else 0."""
    return torch.eye(n, dtype=torch.float64)


def signs(n: int) -> Float[Tensor, "_ width"]:
    """Return the binary digits of each symbol's number as +1 and -1: 64 symbols in 6 coordinates.

    Products are `width` if equal, else between -`width` and `width - 2`.
    """
    width = (n - 1).bit_length()
    return torch.tensor(
        [[2.0 * (number >> bit & 1) - 1 for bit in range(width)] for number in range(n)],
        dtype=torch.float64,
    )


def into_head(width: int, scale: float = 1.0) -> Float[Tensor, "width d_head"]:
    """Return the map from a subspace to the first coordinates of a head, times `scale`."""
    return scale * torch.eye(width, D_HEAD, dtype=torch.float64)


def out_of_head(width: int, scale: float = 1.0) -> Float[Tensor, "d_head width"]:
    """Return the map from the first coordinates of a head to a subspace, times `scale`."""
    return scale * torch.eye(D_HEAD, width, dtype=torch.float64)


def flag(index: int, width: int, scale: float = 1.0) -> Float[Tensor, " width"]:
    """Return a vector with `scale` at `index` and zeros elsewhere."""
    vector = _zeros(width)
    vector[index] = scale
    return vector


def _zeros(*size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.float64)
