"""Which edges are present in a circuit that is being cut, and what its receivers read."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.layout import Needed
from acdc_pipeline.graph import LOGITS, Node, Receiver


@dataclass
class Present:
    """The circuit so far. Receivers that were never visited read every source.

    Args:
        kept: for each visited receiver, the sources it still reads.
        inputs: what it reads while every source is clean: ablated outputs on removed edges.
        alive: the nodes that some visited receiver reads.
    """

    kept: dict[Receiver, list[Node]] = field(default_factory=dict)
    inputs: dict[Receiver, Float[Tensor, "rows d_model"]] = field(default_factory=dict)
    alive: set[Node] = field(default_factory=set)

    def needed_heads(self, layer: int) -> Needed | None:
        """Where anything reads the heads of this layer, or None where nothing does.

        A later layer with a living head attends to all of this one, dead nodes included.
        """
        layers = {node.layer for node in self.alive if node.kind == "head"}
        if any(other is not None and other > layer for other in layers):
            return Needed.EVERY
        return Needed.ANSWERS if layer in layers else None

    def needed(self, receiver: Receiver) -> Needed:
        """Where a receiver of a node that is alive is needed."""
        if receiver.node == LOGITS:
            return Needed.ANSWERS
        assert receiver.node.layer is not None
        if receiver.slot in ("k", "v"):
            return Needed.EVERY
        return self.needed_heads(receiver.node.layer) or Needed.ANSWERS
