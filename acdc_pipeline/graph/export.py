"""Circuits for graph viewers: GraphML and Graphviz DOT. Neither format is read back.

Equal circuits give equal text.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby

import networkx as nx

from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import Node

# Okabe and Ito's palette, as in the SVG figures.
_COLOURS = {"q": "#0072B2", "k": "#D55E00", "v": "#009E73", None: "#6B7280"}


def circuit_graphml(circuit: Circuit) -> str:
    """Return the circuit as a GraphML document, for Gephi, yEd or Cytoscape.

    Nodes have `kind`, `layer` and `head`, edges `slot`, `span` and `score`; GraphML has no null, so
    an attribute without a value is left out. The id of an edge is its name (`a0.h1->a5.h3<k>`),
    because ids must be unique in a document and slots are not.
    """
    topology = circuit.topology.as_dict()
    for name, value in topology.items():
        if isinstance(value, list):  # GraphML has no lists
            topology[name] = " ".join(map(str, value))
    graph = nx.MultiDiGraph(**topology)
    for node in circuit.nodes:
        graph.add_node(str(node), **_without_none(asdict(node)))
    for edge in circuit.sorted_edges:
        data = {"slot": edge.slot, "span": edge.span, "score": circuit.scores.get(edge)}
        graph.add_edge(str(edge.src), str(edge.dst), key=str(edge), **_without_none(data))
    lines = nx.generate_graphml(graph)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + "\n".join(lines) + "\n"


def circuit_dot(circuit: Circuit) -> str:
    """Return the circuit as a DOT digraph, input at the bottom, one rank per layer and kind.

    Edges are coloured by slot, labelled by slot and span, and have their score as a tooltip.
    """
    lines = [
        "digraph circuit {",
        "  rankdir=BT;",
        '  node [shape=box, style=rounded, fontname="Helvetica"];',
        '  edge [fontname="Helvetica", fontsize=9];',
    ]
    for _, rank in groupby(circuit.nodes, key=lambda node: (node.layer, node.kind)):
        names = " ".join(f"{_quote(node)};" for node in rank)
        lines.append(f"  {{ rank=same; {names} }}")
    lines += [f"  {_dot_edge(edge, circuit)}" for edge in circuit.sorted_edges]
    return "\n".join([*lines, "}"]) + "\n"


def _without_none(data: dict[str, str | int | float | None]) -> dict[str, str | int | float]:
    return {name: value for name, value in data.items() if value is not None}


def _dot_edge(edge: Edge, circuit: Circuit) -> str:
    attributes = [f'color="{_COLOURS[edge.slot]}"']
    label = "@".join(part for part in (edge.slot or "", edge.span) if part is not None)
    if label:
        attributes.append(f'label="{label}"')
    if edge in circuit.scores:
        attributes.append(f'tooltip="{edge}: {circuit.scores[edge]!r}"')
    return f"{_quote(edge.src)} -> {_quote(edge.dst)} [{', '.join(attributes)}];"


def _quote(node: Node) -> str:
    # For the characters of a node's name, DOT strings are quoted like JSON strings.
    return json.dumps(str(node))
