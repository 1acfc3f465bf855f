"""Circuit <-> networkx MultiDiGraph <-> node-link JSON, with nothing lost on the way.

The graph holds the circuit: the nodes a kept edge touches and the kept edges, one per slot. What a
circuit knows beyond that (the graph it was cut from, scores of removed edges) sits in the graph's
own attributes, so that counting edges in networkx counts the edges kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import networkx as nx

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.topology import Topology
from acdc_pipeline.json_text import read_json

FORMAT = "acdc-pipeline/circuit"
VERSION = 1

# networkx invents integer keys for None, so an edge without a slot has the empty key.
_NO_SLOT = ""


def to_networkx(circuit: Circuit) -> nx.MultiDiGraph:
    """The circuit as a networkx graph; an edge's key is its slot (`q`, `k`, `v`, else "").

    Nodes carry `kind`, `layer`, `head`; edges carry `score` where the method gave one; the graph
    carries `n_layers`, `n_heads`, `has_mlp`, `parallel` and, where there are any,
    `removed_scores` (edge name -> score of a removed edge).
    """
    topology = circuit.topology
    graph = nx.MultiDiGraph(
        format=FORMAT,
        version=VERSION,
        n_layers=topology.n_layers,
        n_heads=topology.n_heads,
        has_mlp=topology.has_mlp,
        parallel=topology.parallel,
    )
    if removed := _removed_scores(circuit):
        graph.graph["removed_scores"] = removed
    for node in circuit.nodes:
        graph.add_node(str(node), kind=node.kind, layer=node.layer, head=node.head)
    for edge in circuit.sorted_edges:
        score = {"score": circuit.scores[edge]} if edge in circuit.scores else {}
        graph.add_edge(str(edge.src), str(edge.dst), key=edge.slot or _NO_SLOT, **score)
    return graph


def from_networkx(graph: nx.MultiDiGraph) -> Circuit:
    """The circuit that `to_networkx` turned into `graph`.

    Raises:
        GraphError: an attribute is missing or wrong, or an edge does not exist in the graph that
            the attributes describe.
    """
    topology = _topology(graph.graph)
    edges: list[Edge] = []
    scores: dict[Edge, float] = {}
    for src, dst, key, data in graph.edges(keys=True, data=True):
        edge = Edge.parse(f"{src}->{dst}<{key}>" if key != _NO_SLOT else f"{src}->{dst}")
        edges.append(edge)
        if "score" in data:
            scores[edge] = _number(data["score"], f"score of {edge}")
    removed = graph.graph.get("removed_scores", {})
    if not isinstance(removed, Mapping):
        raise GraphError("not a mapping from edge to score", field="graph.removed_scores")
    for name, value in removed.items():
        scores[Edge.parse(name)] = _number(value, f"graph.removed_scores.{name}")
    return Circuit(topology, frozenset(edges), scores)


def to_node_link(circuit: Circuit) -> dict[str, Any]:
    """The node-link document that `networkx.node_link_graph(..., edges="edges")` reads."""
    document = nx.node_link_data(to_networkx(circuit), edges="edges")
    order = enumerate(circuit.sorted_edges)
    place = {(str(e.src), str(e.dst), e.slot or _NO_SLOT): index for index, e in order}
    document["edges"].sort(key=lambda e: place[e["source"], e["target"], e["key"]])
    return document


def from_node_link(document: Mapping[str, Any]) -> Circuit:
    """The circuit in a node-link document. Raises GraphError if it holds none."""
    for field in ("graph", "nodes", "edges"):
        if field not in document:
            raise GraphError("missing", field=field, allowed="a node-link document of a circuit")
    if not isinstance(document["graph"], Mapping):
        raise GraphError("not an object", field="graph", allowed="format, version, n_layers, …")
    if not (document.get("directed") and document.get("multigraph")):
        raise GraphError(
            "not a directed multigraph", allowed='"directed": true and "multigraph": true'
        )
    try:
        graph = nx.node_link_graph(dict(document), edges="edges")
    except (KeyError, TypeError, ValueError, AttributeError, nx.NetworkXException) as error:
        raise GraphError(f"not node-link data ({error!r})") from error
    return from_networkx(graph)


def node_link_json(circuit: Circuit) -> str:
    """The node-link document as JSON text: the same circuit always gives the same text."""
    return json.dumps(to_node_link(circuit), sort_keys=True, indent=1, allow_nan=False) + "\n"


def parse_node_link_json(text: str) -> Circuit:
    """The circuit in node-link JSON text. Raises GraphError for anything else."""
    try:
        document = read_json(text)
    except ValueError as error:
        raise GraphError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise GraphError("not a JSON object", allowed="a node-link document of a circuit")
    return from_node_link(document)


def _removed_scores(circuit: Circuit) -> dict[str, float]:
    removed = circuit.scores.keys() - circuit.edges
    if not removed:
        return {}
    return {str(e): circuit.scores[e] for e in circuit.topology.edges if e in removed}


def _topology(attributes: Mapping[str, Any]) -> Topology:
    if attributes.get("format") != FORMAT or attributes.get("version") != VERSION:
        raise GraphError(
            f"{attributes.get('format')!r} version {attributes.get('version')!r} is not a circuit",
            field="graph.format",
            allowed=f"{FORMAT!r} version {VERSION}",
        )
    for name, kind in (("n_layers", int), ("n_heads", int), ("has_mlp", bool), ("parallel", bool)):
        # bool is an int for Python, but not for anybody who counts layers.
        if type(attributes.get(name)) is not kind:
            raise GraphError(
                f"{attributes.get(name)!r} is not valid",
                field=f"graph.{name}",
                allowed=kind.__name__,
            )
    return Topology(
        attributes["n_layers"],
        attributes["n_heads"],
        attributes["has_mlp"],
        attributes["parallel"],
    )


def _number(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise GraphError(f"{value!r} is not a finite number", field=field)
    return float(value)
