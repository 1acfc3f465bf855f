"""Circuits as the graph JSON of EAP-IG (`Graph.to_json`), which the MIB benchmark reads.

The document has three keys: `cfg` (n_layers, n_heads, parallel_attn_mlp, d_model), `nodes`
(name -> in_graph) and `edges` (name -> score, in_graph) with every edge of the full graph. Their
loader requires `d_model` even if only edges are scored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import LOGITS
from acdc_pipeline.graph.topology import Topology, check_types


def to_mib(circuit: Circuit, *, d_model: int) -> dict[str, Any]:
    """Return the circuit as an EAP-IG graph document.

    `d_model` is the width of the model's residual stream. Attention-only graphs are written without
    MLP nodes; the loader treats nodes that are not listed as removed. The format has no null, so an
    edge without a score has 0.0. `logits` is always marked as in the graph, even if no edge reaches
    it.
    """
    topology = circuit.topology
    kept = {*circuit.nodes, LOGITS}
    return {
        "cfg": {
            "n_layers": topology.n_layers,
            "n_heads": topology.n_heads,
            "parallel_attn_mlp": topology.parallel,
            "d_model": d_model,
        },
        "nodes": {str(node): {"in_graph": node in kept} for node in topology.nodes},
        "edges": {
            str(edge): {"score": circuit.scores.get(edge, 0.0), "in_graph": edge in circuit.edges}
            for edge in topology.edges
        },
    }


def from_mib(document: Mapping[str, Any]) -> Circuit:
    """Return the circuit of an EAP-IG graph document, with the scores of its edges.

    Scores of nodes and neurons are ignored: a circuit is a set of edges.

    Raises:
        GraphError: a key is missing, or an edge does not exist in the graph that `cfg` describes.
    """
    cfg, nodes, edges = (_mapping(document, key) for key in ("cfg", "nodes", "edges"))
    check_types(cfg, "cfg", n_layers=int, n_heads=int, parallel_attn_mlp=bool)
    has_mlp = "m0" in nodes
    topology = Topology(cfg["n_layers"], cfg["n_heads"], has_mlp, cfg["parallel_attn_mlp"])
    kept: list[Edge] = []
    scores: dict[Edge, float] = {}
    for name, data in edges.items():
        edge = Edge.parse(name)
        field = f"edges.{name}"
        if not isinstance(data, Mapping) or not isinstance(data.get("in_graph"), bool):
            raise GraphError(f"{data!r} is not valid", field=field, allowed="{score, in_graph}")
        score = data.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise GraphError(f"{score!r} is not a number", field=f"{field}.score")
        # EAP-IG writes NaN for an edge without a score.
        if math.isfinite(score):
            scores[edge] = float(score)
        if data["in_graph"]:
            kept.append(edge)
    return Circuit(topology, frozenset(kept), scores)


def mib_json(circuit: Circuit, *, d_model: int) -> str:
    """Return `to_mib` as JSON in the graph's order; equal circuits give equal text."""
    return json.dumps(to_mib(circuit, d_model=d_model), allow_nan=False) + "\n"


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if not isinstance(value, Mapping):
        raise GraphError("missing or not an object", field=key, allowed="cfg, nodes, edges")
    return value
