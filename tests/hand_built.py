"""Attention-only models of a few heads, written matrix by matrix, without norms.

The residual stream holds the token (one-hot), the position (one-hot), and two subspaces as wide as
the token to write into: `copy`, which later heads may read, and `out`, which the logits read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acdc_pipeline.models.weights import Attention, Block, Norm, TransformerWeights

SHARP = 50.0
"""A score this far above the others leaves them exp(-50) = 2e-22."""


@dataclass(frozen=True)
class Head:
    """One head: what its queries, keys and values read, and what it writes."""

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor


@dataclass(frozen=True)
class Stream:
    """The widths of the residual stream of a model with `vocab` tokens and `positions`."""

    vocab: int
    positions: int

    @property
    def d_model(self) -> int:
        return 3 * self.vocab + self.positions

    @property
    def d_head(self) -> int:
        return max(self.vocab, self.positions)

    def part(self, name: str) -> slice:
        starts = {"token": 0, "copy": 1, "out": 2}
        if name == "position":
            return slice(3 * self.vocab, self.d_model)
        start = starts[name] * self.vocab
        return slice(start, start + self.vocab)

    def nothing(self) -> Tensor:
        return torch.zeros(self.d_model, self.d_head, dtype=torch.float64)

    def reads(self, name: str, scale: float = 1.0, by: int = 0) -> Tensor:
        """`name` into the head, `by` places further on: position p is read as p + by."""
        matrix = self.nothing()
        width = self.part(name).stop - self.part(name).start
        matrix[self.part(name), :width] = scale * torch.eye(width, dtype=torch.float64)
        if by:
            shifted = torch.zeros_like(matrix)
            shifted[:, max(by, 0) : width + min(by, 0)] = matrix[
                :, max(-by, 0) : width - max(by, 0)
            ]
            matrix = shifted
        return matrix

    def writes(self, name: str, scale: float = 1.0) -> Tensor:
        return self.reads(name, scale).T.contiguous()

    def uniform(self, writes: str = "out") -> Head:
        """Looks everywhere alike, and copies tokens."""
        none = self.nothing()
        return Head(none, none, self.reads("token"), self.writes(writes))

    def idle(self) -> Head:
        """Writes nothing."""
        return replace(self.uniform(), o=torch.zeros_like(self.writes("out")))

    def sink(self) -> Head:
        """Looks at position 0."""
        q, k = self.nothing(), self.nothing()
        q[self.part("position"), 0] = SHARP
        k[self.part("position").start, 0] = 1.0
        return Head(q, k, self.reads("token"), self.writes("out"))

    def offset(self, back: int, writes: str = "out", value: str = "token") -> Head:
        """Looks `back` positions back; anywhere alike where there is none."""
        q = self.reads("position", SHARP, by=-back)
        return Head(q, self.reads("position"), self.reads(value), self.writes(writes))

    def duplicate(self) -> Head:
        """Looks at other places of the current token, not at its own."""
        q = self.nothing()
        k = self.nothing()
        q[self.part("token"), : self.vocab] = SHARP * torch.eye(self.vocab, dtype=torch.float64)
        k[self.part("token"), : self.vocab] = torch.eye(self.vocab, dtype=torch.float64)
        return Head(q, k, self.reads("token"), self.writes("out"))

    def matching(self, keys: str, value: str = "token", scale: float = 1.0) -> Head:
        """Looks where `keys` holds the current token, and copies `value` from there."""
        return Head(
            self.reads("token", SHARP),
            self.reads(keys),
            self.reads(value),
            self.writes("out", scale),
        )

    def weights(self, *layers: list[Head]) -> TransformerWeights:
        """The model, in float64. `out` is unembedded as it is."""
        embed = torch.zeros(self.vocab, self.d_model, dtype=torch.float64)
        embed[:, self.part("token")] = torch.eye(self.vocab, dtype=torch.float64)
        places = torch.zeros(self.positions, self.d_model, dtype=torch.float64)
        places[:, self.part("position")] = torch.eye(self.positions, dtype=torch.float64)
        unembed = torch.zeros(self.d_model, self.vocab, dtype=torch.float64)
        unembed[self.part("out")] = torch.eye(self.vocab, dtype=torch.float64)
        none = Norm("none", None, None, 0.0)
        blocks = tuple(Block(none, _attention(heads), None, None) for heads in layers)
        return TransformerWeights(
            embed, places, blocks, none, unembed, None, parallel=False, n_ctx=self.positions
        )


def _attention(heads: list[Head]) -> Attention:
    return Attention(
        w_q=torch.stack([head.q for head in heads]),
        w_k=torch.stack([head.k for head in heads]),
        w_v=torch.stack([head.v for head in heads]),
        w_o=torch.stack([head.o for head in heads]),
        b_q=None,
        b_k=None,
        b_v=None,
        b_o=None,
        scale=1.0,
        rotary=None,
        direction="causal",
    )
