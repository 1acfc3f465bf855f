"""Circuit -> Graphviz DOT text. Writing it needs no Graphviz; drawing it elsewhere does."""

from __future__ import annotations

import json
from itertools import groupby

from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import Edge, Slot
from acdc_pipeline.graph.node import Node

# Okabe & Ito's colour-blind-safe palette; the drawing in `draw.py` uses the same hues.
_COLOUR: dict[Slot | None, str] = {
    "q": "#0072B2",
    "k": "#D55E00",
    "v": "#009E73",
    None: "#6B7280",
}


def circuit_dot(circuit: Circuit) -> str:
    """The circuit as a DOT digraph, input at the bottom, one rank per layer and kind of node.

    Edges are coloured by slot, labelled with it, and carry their score as a tooltip. The same
    circuit always gives the same text.
    """
    lines = [
        "digraph circuit {",
        "  rankdir=BT;",
        '  node [shape=box, style=rounded, fontname="Helvetica"];',
        '  edge [fontname="Helvetica", fontsize=9];',
    ]
    for _, rank in groupby(circuit.nodes, key=lambda node: (node.layer, node.kind)):
        names = " ".join(f"{_quoted(node)};" for node in rank)
        lines.append(f"  {{ rank=same; {names} }}")
    lines += [f"  {_edge(edge, circuit)}" for edge in circuit.sorted_edges]
    return "\n".join([*lines, "}"]) + "\n"


def _edge(edge: Edge, circuit: Circuit) -> str:
    attributes = [f'color="{_COLOUR[edge.slot]}"']
    if edge.slot:
        attributes.append(f'label="{edge.slot}"')
    if edge in circuit.scores:
        attributes.append(f'tooltip="{edge}: {circuit.scores[edge]!r}"')
    return f"{_quoted(edge.src)} -> {_quoted(edge.dst)} [{', '.join(attributes)}];"


def _quoted(node: Node) -> str:
    # A DOT string is quoted like a JSON one for the characters a node's name can hold.
    return json.dumps(str(node))
