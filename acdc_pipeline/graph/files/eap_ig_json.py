"""The graph JSON of EAP-IG (`Graph.from_json`), in which the MIB benchmark takes circuits.

    {"cfg": {n_layers, n_heads, parallel_attn_mlp, d_model},
     "nodes": {name: {in_graph, score, neurons, neurons_scores}},
     "edges": {name: {in_graph, score}}}

Of a node only `in_graph` is required. `neurons` says which dimensions of its output are in the
circuit, and `neurons_scores` scores them; a list of lists, as `Graph.to_json` writes it for heads,
has one row for each head of the layer. NaN is the score of what has none.

Versions of EAP-IG before it had neurons wrote `in_graph` alone for a node, as a plain boolean, and
null for an edge without a score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.document import check_keys, check_types
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.files.circuit_file import CircuitFile, read_number
from acdc_pipeline.graph.files.eap_ig import check_whole_masks, eap_ig_file, topology_of
from acdc_pipeline.graph.node import LOGITS, Node
from acdc_pipeline.graph.topology import Topology

NODE_KEYS = ("in_graph", "score", "neurons", "neurons_scores")


def read_eap_ig_json(document: Mapping[str, Any]) -> CircuitFile:
    """Return everything that an EAP-IG graph document says.

    Raises:
        GraphError: a key is missing, unknown or of another type; a node or an edge does not exist
            in the graph that `cfg` describes; or nodes and edges contradict one another.
    """
    cfg, nodes, edges = (_mapping(document, key) for key in ("cfg", "nodes", "edges"))
    if "neurons" in document:
        raise GraphError(
            "EAP-IG reads no neurons here",
            field="neurons",
            fix="give each node its own: nodes.NAME.neurons",
        )
    check_keys(document, "", ("cfg", "nodes", "edges"))
    topology, d_model = topology_of(cfg, has_mlp="m0" in nodes)
    circuit = _read_edges(edges, topology)
    in_graph: dict[Node, bool] = {}
    scores: dict[Node, float] = {}
    for name, data in nodes.items():
        node, field = Node.parse(name), f"nodes.{name}"
        if str(node) != name:  # m00 is m0, which may be there too
            raise GraphError(f"'{name}' is not a node", field="nodes", allowed=str(node))
        topology.check(node)
        if isinstance(data, bool):
            in_graph[node] = data
            continue
        check_types(_mapping_at(data, field, "{in_graph, score, neurons}"), field, in_graph=bool)
        check_keys(data, field, NODE_KEYS)
        in_graph[node] = data["in_graph"]
        if "score" in data:
            scores[node] = read_number(data["score"], f"{field}.score")
    by_node = {Node.parse(name): d for name, d in nodes.items() if not isinstance(d, bool)}
    masks = _rows(by_node, "neurons", topology, d_model)
    check_whole_masks(circuit, masks)
    return eap_ig_file(
        circuit,
        in_graph,
        scores,
        _mask(masks, topology),
        _mask_scores(_rows(by_node, "neurons_scores", topology, d_model), topology),
    )


def _read_edges(edges: Mapping[str, Any], topology: Topology) -> Circuit:
    kept: list[Edge] = []
    scores: dict[Edge, float] = {}
    for name, data in edges.items():
        edge, field = Edge.parse(name), f"edges.{name}"
        if str(edge) != name:  # m01 is m1, which may be there too
            raise GraphError(f"'{name}' is not an edge", field="edges", allowed=str(edge))
        if not isinstance(data, Mapping) or not isinstance(data.get("in_graph"), bool):
            raise GraphError(f"{data!r} is not valid", field=field, allowed="{score, in_graph}")
        check_keys(data, field, ("score", "in_graph"))
        if "score" not in data:
            raise GraphError("missing", field=f"{field}.score", allowed="a number, NaN or null")
        no_score = data["score"] is None
        score = math.nan if no_score else read_number(data["score"], f"{field}.score")
        if not math.isnan(score):
            scores[edge] = score
        if data["in_graph"]:
            kept.append(edge)
    return Circuit(topology, frozenset(kept), scores)


def _rows(
    nodes: Mapping[Node, Mapping[str, Any]], key: str, topology: Topology, d_model: int | None
) -> dict[Node, list[float]]:
    """The values under `key`, by node: one for each dimension of its output."""
    out: dict[Node, list[float]] = {}
    of_layer: dict[int | None, list[list[float]]] = {}
    for node, data in nodes.items():
        if key not in data:
            continue
        field, value = f"nodes.{node}.{key}", data[key]
        if node == LOGITS:
            raise GraphError("logits have no output", field=field)
        if d_model is None:
            raise GraphError("missing", field="cfg.d_model", allowed="the width of the model")
        if not isinstance(value, list):
            raise GraphError("is not a list", field=field, allowed=f"a list of {d_model} values")
        if node.kind == "head" and value and isinstance(value[0], list):
            if len(value) != topology.n_heads:
                raise GraphError(
                    f"{len(value)} rows", field=field, allowed=f"{topology.n_heads}, one per head"
                )
            rows = [_row(row, key, f"{field}.{i}", d_model) for i, row in enumerate(value)]
            first = of_layer.setdefault(node.layer, rows)
            if not np.array_equal(np.array(first), np.array(rows), equal_nan=True):
                raise GraphError("differs from the rows of another head of the layer", field=field)
            assert node.head is not None
            out[node] = rows[node.head]
        else:
            out[node] = _row(value, key, field, d_model)
    return out


def _row(value: object, key: str, field: str, d_model: int) -> list[float]:
    if not isinstance(value, list) or len(value) != d_model:
        size = f"{len(value)} values" if isinstance(value, list) else f"{value!r}"
        raise GraphError(f"is {size}", field=field, allowed=f"a list of {d_model} values")
    if key == "neurons_scores":
        return [read_number(one, f"{field}.{i}") for i, one in enumerate(value)]
    for i, one in enumerate(value):
        if not isinstance(one, bool | int | float) or one not in (0, 1):
            raise GraphError(f"{one!r} is not valid", field=f"{field}.{i}", allowed="true, false")
    return [float(one) for one in value]


def _mask(
    rows: Mapping[Node, list[float]], topology: Topology
) -> Bool[np.ndarray, "src d_model"] | None:
    """Nodes without a mask have no edges in the circuit (`check_whole_masks`): any will do."""
    return None if not rows else _matrix(rows, topology, fill=0.0) == 1


def _mask_scores(
    rows: Mapping[Node, list[float]], topology: Topology
) -> Float[np.ndarray, "src d_model"] | None:
    return None if not rows else _matrix(rows, topology, fill=float("nan"))


def _matrix(
    rows: Mapping[Node, list[float]], topology: Topology, fill: float
) -> Float[np.ndarray, "src d_model"]:
    width = len(next(iter(rows.values())))
    return np.array([rows.get(node, [fill] * width) for node in topology.sources])


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return _mapping_at(document.get(key), key, "cfg, nodes, edges", "missing or not an object")


def _mapping_at(
    value: object, field: str, allowed: str, problem: str = "not an object"
) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise GraphError(problem, field=field, allowed=allowed)
    return value
