"""Circuits as the graph JSON of EAP-IG (`Graph.to_json`), which the MIB benchmark reads.

The document has three keys: `cfg` (n_layers, n_heads, parallel_attn_mlp, d_model), `nodes`
(name -> in_graph) and `edges` (name -> score, in_graph) with every edge of the full graph. Their
loader requires `d_model` even if only edges are scored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.files.eap_ig_json import read_eap_ig_json
from acdc_pipeline.graph.node import LOGITS


def to_mib(circuit: Circuit, *, d_model: int) -> dict[str, Any]:
    """Return the circuit as an EAP-IG graph document.

    `d_model` is the width of the model's residual stream. Attention-only graphs are written without
    MLP nodes; the loader treats nodes that are not listed as removed. The format has no null, so an
    edge without a score has 0.0. `logits` is always marked as in the graph, even if no edge reaches
    it. The format has no spans: edges of one component are one edge, as in `Circuit.collapse`.

    Raises:
        GraphError: layers of the graph differ in their parts.
    """
    circuit = circuit.collapse()
    topology = circuit.topology
    topology.require_same_parts("the graph JSON of EAP-IG and MIB")
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

    Raises:
        GraphError: as `read_eap_ig_json`; or a node writes only some of its dimensions, which a
            `Circuit` cannot express.
    """
    return read_eap_ig_json(document).whole_nodes("a circuit of edges alone")


def mib_json(circuit: Circuit, *, d_model: int) -> str:
    """Return `to_mib` as JSON in the graph's order; equal circuits give equal text."""
    return json.dumps(to_mib(circuit, d_model=d_model), allow_nan=False) + "\n"
