"""Circuit -> GraphML, for Gephi, yEd, Cytoscape. Export only: GraphML cannot say "no value"."""

from __future__ import annotations

import networkx as nx

from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import Node


def circuit_graphml(circuit: Circuit) -> str:
    """The circuit as a GraphML document; the same circuit always gives the same text.

    Nodes carry `kind`, `layer` and `head`, edges `slot` and `score`, each only where there is one.
    An edge's id is its name (`a0.h1->a5.h3<k>`), because ids are unique in a document and slots
    are not.
    """
    topology = circuit.topology
    graph = nx.MultiDiGraph(
        n_layers=topology.n_layers,
        n_heads=topology.n_heads,
        has_mlp=topology.has_mlp,
        parallel=topology.parallel,
    )
    for node in circuit.nodes:
        graph.add_node(str(node), **_node_data(node))
    for edge in circuit.sorted_edges:
        graph.add_edge(str(edge.src), str(edge.dst), key=str(edge), **_edge_data(edge, circuit))
    lines = nx.generate_graphml(graph)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + "\n".join(lines) + "\n"


def _node_data(node: Node) -> dict[str, str | int]:
    data: dict[str, str | int] = {"kind": node.kind}
    if node.layer is not None:
        data["layer"] = node.layer
    if node.head is not None:
        data["head"] = node.head
    return data


def _edge_data(edge: Edge, circuit: Circuit) -> dict[str, str | float]:
    data: dict[str, str | float] = {}
    if edge.slot is not None:
        data["slot"] = edge.slot
    if edge in circuit.scores:
        data["score"] = circuit.scores[edge]
    return data
