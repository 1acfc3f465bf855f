"""What the line below the figure of a circuit says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import Node
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from acdc_pipeline.graph.circuit import Circuit


def describe_circuit(circuit: Circuit, drawn: Sequence[Edge]) -> str:
    """Return the size of a circuit, what its nodes are called, and how much of it is drawn.

    Args:
        drawn: the edges in the figure; those outside of the circuit are of alternatives.
    """
    kept, total = len(circuit), circuit.topology.n_edges
    text = (
        f"{kept:,} of {total:,} edges kept ({100 * kept / total:.2g}%), "
        f"{len(circuit.nodes):,} of {len(circuit.topology.nodes):,} nodes."
    )
    if has_mixers(circuit.nodes):
        text += (
            " r0, r1, … are mixers: parts that carry information between positions without heads."
        )
    if has_experts(circuit.nodes):
        text += (
            " m0.e1 is expert 1 of the mixture of layer 0; what m0.router reads decides which "
            "experts write, and with which weights."
        )
        if circuit.topology.shared:
            text += " m0.shared is what the mixture adds to its experts."
    outside = [edge for edge in drawn if edge not in circuit.edges]
    if outside:
        nodes = {node for edge in outside for node in (edge.src, edge.dst)}
        text += f" Alternatives outside of it: {pluralize(len(outside), 'edge')}"
        more = len(nodes.difference(circuit.nodes))
        text += f" and {pluralize(more, 'node')}." if more else "."
    if (inside := len(drawn) - len(outside)) < kept:
        scored = any(edge in circuit.scores for edge in drawn)
        choice = "with the largest |score|" if scored else "nearest the logits"
        text += f" Drawn: the {inside} edges {choice}."
    return text


def has_experts(nodes: Iterable[Node]) -> bool:
    """Return whether a part of a mixture is among `nodes`."""
    return any(node.kind in ("expert", "shared", "router") for node in nodes)


def has_mixers(nodes: Iterable[Node]) -> bool:
    """Return whether a mixer is among `nodes`."""
    return any(node.kind == "mixer" for node in nodes)
