"""Circuits as networkx node-link JSON (`graph.json` of a run), written and read without loss.

Nodes and edges of the document are those of the circuit, so that networkx counts the edges kept.
The shape of the full graph and the scores of removed edges are attributes of the graph.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import networkx as nx

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import FORMAT, FORMAT_VERSION, NO_SLOT, Circuit
from acdc_pipeline.graph.consensus import Consensus
from acdc_pipeline.graph.document import check_keys, check_types, read_list
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import Node
from acdc_pipeline.graph.topology import LISTS, Topology

OF_CONSENSUS = ("share", "role")
"""What edges have besides their score in the circuit of several searches."""


def from_networkx(graph: nx.MultiDiGraph) -> Circuit:
    """Return the circuit of a graph made by `Circuit.to_networkx`.

    Raises:
        GraphError: an attribute is missing or invalid, or an edge does not exist in the graph that
            the attributes describe.
    """
    topology = _topology(graph.graph)
    edges: list[Edge] = []
    scores: dict[Edge, float] = {}
    for src, dst, key, data in graph.edges(keys=True, data=True):
        edge = _edge(_edge_name(src, dst, key), "edges")
        edges.append(edge)
        check_keys(data, f"edges.{edge}", ("score", *OF_CONSENSUS))
        if "score" in data:
            scores[edge] = _number(data["score"], f"score of {edge}")
    removed = graph.graph.get("removed_scores", {})
    if not isinstance(removed, Mapping):
        raise GraphError("not a mapping from edge to score", field="graph.removed_scores")
    kept = set(edges)
    for name, value in removed.items():
        edge = _edge(name, "graph.removed_scores")
        if edge in kept:
            raise GraphError("is an edge of the circuit", field=f"graph.removed_scores.{name}")
        scores[edge] = _number(value, f"graph.removed_scores.{name}")
    circuit = Circuit(topology, frozenset(edges), scores)
    for name, data in graph.nodes(data=True):
        node = Node.parse(str(name))
        if str(node) != name:
            raise GraphError(f"{name!r} is not a node", field="nodes", allowed=str(node))
        _check_node(node, data, topology)
    return circuit


def to_node_link(circuit: Circuit) -> dict[str, Any]:
    """Return the document that `networkx.node_link_graph(..., edges="edges")` reads."""
    document = nx.node_link_data(circuit.to_networkx(), edges="edges")
    position = {str(edge): index for index, edge in enumerate(circuit.sorted_edges)}
    names = {id(e): _edge_name(e["source"], e["target"], e["key"]) for e in document["edges"]}
    document["edges"].sort(key=lambda edge: position[names[id(edge)]])
    return document


def from_node_link(document: Mapping[str, Any]) -> Circuit:
    """Return the circuit of a node-link document. Raises GraphError if it is not one."""
    for field in ("graph", "nodes", "edges"):
        if field not in document:
            raise GraphError("missing", field=field, allowed="a node-link document of a circuit")
    if not isinstance(document["graph"], Mapping):
        raise GraphError("not an object", field="graph", allowed="format, version, n_layers, …")
    check_keys(document, "", ("directed", "multigraph", "graph", "nodes", "edges"))
    _check_once(document["edges"])
    if not (document.get("directed") and document.get("multigraph")):
        raise GraphError(
            "not a directed multigraph", allowed='"directed": true and "multigraph": true'
        )
    try:
        # A pair as the key of an edge is a list in JSON.
        edges = [{**edge, "key": _as_key(edge["key"])} for edge in document["edges"]]
        graph = nx.node_link_graph({**document, "edges": edges}, edges="edges")
    except (KeyError, TypeError, ValueError, AttributeError, nx.NetworkXException) as error:
        raise GraphError(f"not node-link data ({error!r})") from error
    return from_networkx(graph)


def node_link_json(circuit: Circuit, consensus: Consensus | None = None) -> str:
    """Return the node-link document as JSON; equal circuits give equal text.

    Args:
        consensus: gives each edge `share`, of the searches that kept it, and `role`, which
            `from_node_link` does not read.
    """
    document = to_node_link(circuit)
    if consensus is not None:
        for edge, plain in zip(circuit.sorted_edges, document["edges"], strict=True):
            values = consensus.share(edge), consensus.roles[edge]
            plain.update(zip(OF_CONSENSUS, values, strict=True))
    return json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n"


def _edge_name(src: str, dst: str, key: object) -> str:
    """Return the name of an edge with this key, see `Circuit.to_networkx`."""
    slot, span = key if isinstance(key, tuple) and len(key) == 2 else (key, None)
    name = f"{src}->{dst}" if slot == NO_SLOT else f"{src}->{dst}<{slot}>"
    return name if span is None else f"{name}@{span}"


def _as_key(key: object) -> object:
    return tuple(key) if isinstance(key, list) else key


def _edge(name: str, field: str) -> Edge:
    """Return the edge of this name. Raises GraphError for a second name of one, as m00 is of m0."""
    edge = Edge.parse(name)
    if str(edge) != name:
        raise GraphError(f"'{name}' is not an edge", field=field, allowed=str(edge))
    return edge


def _check_node(node: Node, data: Mapping[str, Any], topology: Topology) -> None:
    """Raise GraphError if a node is not of this graph, or its attributes are not those of its name.

    Attributes may be missing.
    """
    topology.check(node)
    field = f"nodes.{node}"
    check_keys(data, field, ("kind", "layer", "head"))
    for name, value in data.items():
        if value != (own := getattr(node, name)):
            raise GraphError(f"is {value!r}", field=f"{field}.{name}", allowed=repr(own))


def _check_once(edges: object) -> None:
    """Raise GraphError if an edge is listed twice: networkx would keep the last one."""
    seen: set[tuple[str, ...]] = set()
    for edge in edges if isinstance(edges, list) else ():
        if isinstance(edge, Mapping):
            ends = tuple(repr(edge.get(key)) for key in ("source", "target", "key"))
            if ends in seen:
                raise GraphError(f"{dict(edge)} is listed twice", field="edges")
            seen.add(ends)


def _topology(attributes: Mapping[str, Any]) -> Topology:
    if attributes.get("format") != FORMAT or attributes.get("version") != FORMAT_VERSION:
        raise GraphError(
            f"{attributes.get('format')!r} version {attributes.get('version')!r} is not a circuit",
            field="graph.format",
            allowed=f"{FORMAT!r} version {FORMAT_VERSION}",
        )
    kinds = {"n_layers": int, "n_heads": int, "has_mlp": bool, "parallel": bool}
    check_types(attributes, "graph", **kinds)
    known = ("format", "version", *kinds, *LISTS, "removed_scores")
    check_keys(attributes, "graph", known)
    lists = {name: read_list(attributes, "graph", name, kind) for name, kind in LISTS.items()}
    return Topology.from_dict({**{name: attributes[name] for name in kinds}, **lists})


def _number(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise GraphError(f"{value!r} is not a finite number", field=field)
    return float(value)
