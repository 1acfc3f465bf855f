"""Circuit <-> the graph JSON of EAP-IG (`Graph.to_json`), which the MIB benchmark reads.

The document has three keys: `cfg` (n_layers, n_heads, parallel_attn_mlp, d_model), `nodes`
(name -> in_graph) and `edges` (name -> score, in_graph), naming every edge of the full graph.
Their loader needs `d_model` even where only edges are scored, so it is asked for here.
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
from acdc_pipeline.graph.topology import Topology
from acdc_pipeline.json_text import read_json


def to_mib(circuit: Circuit, *, d_model: int) -> dict[str, Any]:
    """The circuit as an EAP-IG graph document.

    Args:
        circuit: what to export. Attention-only graphs are written without MLP nodes: the loader
            leaves nodes it is not told about out of the circuit.
        d_model: width of the residual stream of the model the circuit was cut from.

    The format has no way to say "no score", so an edge without one is written as 0.0. `logits` is
    always in the graph there, whether or not an edge reaches it.
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
    """The circuit in an EAP-IG graph document, with a score for every edge it names.

    Scores of nodes and neurons are not read: circuits here are sets of edges.

    Raises:
        GraphError: a key is missing, or an edge does not exist in the graph that `cfg` describes.
    """
    cfg, nodes, edges = (_mapping(document, key) for key in ("cfg", "nodes", "edges"))
    for key, kind in (("n_layers", int), ("n_heads", int), ("parallel_attn_mlp", bool)):
        if type(cfg.get(key)) is not kind:
            raise GraphError(
                f"{cfg.get(key)!r} is not valid", field=f"cfg.{key}", allowed=kind.__name__
            )
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
        # A score may be NaN there, for "not scored".
        if math.isfinite(score):
            scores[edge] = float(score)
        if data["in_graph"]:
            kept.append(edge)
    return Circuit(topology, frozenset(kept), scores)


def mib_json(circuit: Circuit, *, d_model: int) -> str:
    """`to_mib` as JSON text, in the graph's own order; the same circuit gives the same text."""
    return json.dumps(to_mib(circuit, d_model=d_model), allow_nan=False) + "\n"


def parse_mib_json(text: str) -> Circuit:
    """The circuit in EAP-IG graph JSON text. Raises GraphError for anything else."""
    try:
        document = read_json(text)
    except ValueError as error:
        raise GraphError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise GraphError("not a JSON object", allowed="an EAP-IG graph: cfg, nodes, edges")
    return from_mib(document)


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if not isinstance(value, Mapping):
        raise GraphError("missing or not an object", field=key, allowed="cfg, nodes, edges")
    return value
