"""The order in which ACDC visits receivers and their sources."""

from __future__ import annotations

from typing import Literal

from acdc_pipeline.graph.edge import Receiver, Slot
from acdc_pipeline.graph.node import LOGITS, Node, mlp
from acdc_pipeline.graph.topology import Topology

HeadOrder = Literal["reverse-heads", "natural"]

# Values before keys before queries: inside a head, in reverse order of computation.
_SLOTS_BACKWARDS: tuple[Slot, ...] = ("v", "k", "q")


def receivers_backwards(topology: Topology, order: HeadOrder) -> tuple[Receiver, ...]:
    """Every receiver from the output backwards.

    `logits`; then layer by layer, last first: the MLP, then all `v`, all `k`, all `q`.
    """
    out = [Receiver(LOGITS)]
    for layer in reversed(range(topology.n_layers)):
        if topology.has_mlp:
            out.append(Receiver(mlp(layer)))
        for slot in _SLOTS_BACKWARDS:
            out += [Receiver(node, slot) for node in _heads(topology, layer, order)]
    return tuple(out)


def sources_backwards(topology: Topology, receiver: Receiver, order: HeadOrder) -> list[Node]:
    """The sources of `receiver`, latest first; `input` last."""
    sources = topology.sources_of(receiver)
    if order == "reverse-heads":
        return list(reversed(sources))
    # Blocks still come last first; only the heads inside one layer run forwards.
    position = {node: i for i, node in enumerate(sources)}
    return sorted(
        sources,
        key=lambda node: (
            -(node.layer if node.layer is not None else -1),
            node.kind == "head",
            position[node],
        ),
    )


def _heads(topology: Topology, layer: int, order: HeadOrder) -> list[Node]:
    heads = topology.heads(layer)
    return heads if order == "natural" else heads[::-1]
