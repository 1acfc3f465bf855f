"""What a forward pass is made to do differently."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.graph import Node


@dataclass(frozen=True)
class Edits:
    """Changes of single heads; everything after them is recomputed.

    Args:
        written: what a head writes instead of its own output, after any norm behind attention:
            the ablation of every edge that leaves it.
        query_shift: what is added to the residual stream that a head's queries read, and only they.
    """

    written: Mapping[Node, Float[Tensor, "*rows pos d_model"]] = field(default_factory=dict)
    query_shift: Mapping[Node, Float[Tensor, "batch pos d_model"]] = field(default_factory=dict)

    @property
    def first_layer(self) -> int | None:
        """The first layer that is not as it was; None where nothing is changed."""
        layers = [node.layer for node in (*self.written, *self.query_shift)]
        return min((layer for layer in layers if layer is not None), default=None)

    def written_in(self, layer: int) -> list[tuple[int, Tensor]]:
        """The heads of `layer` that write something else, and what."""
        return _of_layer(self.written, layer)

    def query_shifts_in(self, layer: int) -> list[tuple[int, Tensor]]:
        """The heads of `layer` whose queries read something else, and the difference."""
        return _of_layer(self.query_shift, layer)


NO_EDITS = Edits()


def silenced(nodes: Iterable[Node], like: Float[Tensor, "*shape"]) -> Edits:
    """The edits under which `nodes` write nothing. `like` gives device and type."""
    nothing = torch.zeros((1, 1), device=like.device, dtype=like.dtype)
    return Edits(dict.fromkeys(nodes, nothing))


def _of_layer(changes: Mapping[Node, Tensor], layer: int) -> list[tuple[int, Tensor]]:
    return [
        (node.head, change)
        for node, change in changes.items()
        if node.layer == layer and node.head is not None
    ]
