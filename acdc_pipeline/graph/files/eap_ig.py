"""What the JSON and the `.pt` graphs of EAP-IG have in common.

Masks of neurons: EAP-IG's "neurons" of a node are the dimensions of its output, d_model of them
(`Graph.neurons_in_graph`). An edge of the circuit carries the node's current output in those that
are in the circuit and its ablated output in the others (`evaluate_graph`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.document import check_keys, check_types
from acdc_pipeline.graph.files.circuit_file import CircuitFile, check_nodes, listed
from acdc_pipeline.graph.node import LOGITS, Node
from acdc_pipeline.graph.topology import Topology

CFG_KEYS = ("n_layers", "n_heads", "parallel_attn_mlp", "d_model")


def topology_of(cfg: Mapping[str, Any], has_mlp: bool) -> tuple[Topology, int | None]:
    """Return the graph and the width that `cfg` of an EAP-IG graph describes.

    Older versions of EAP-IG wrote no width; then it is None.

    Raises:
        GraphError: a value is missing, unknown or not valid.
    """
    check_keys(cfg, "cfg", CFG_KEYS)
    check_types(cfg, "cfg", n_layers=int, n_heads=int, parallel_attn_mlp=bool)
    if "d_model" in cfg:
        check_types(cfg, "cfg", d_model=int)
        if cfg["d_model"] < 1:
            raise GraphError(f"{cfg['d_model']} is too small", field="cfg.d_model")
    topology = Topology(cfg["n_layers"], cfg["n_heads"], has_mlp, cfg["parallel_attn_mlp"])
    return topology, cfg.get("d_model")


def check_whole_masks(circuit: Circuit, masked: Collection[Node]) -> None:
    """Raise GraphError if some nodes of the circuit have masks and others have none.

    EAP-IG's reader takes a node without a mask for one without neurons as soon as another has one.
    """
    used = {edge.src for edge in circuit.edges}
    without = [node for node in circuit.topology.sources if node in used and node not in masked]
    if masked and without:
        raise GraphError(
            f"missing, while other nodes have it; also of {len(without) - 1} other nodes"
            if len(without) > 1
            else "missing, while other nodes have it",
            field=f"nodes.{without[0]}.neurons",
            fix="give it for every node with edges in the circuit: EAP-IG takes a node without it "
            "for one that writes nothing; all true for a node that writes everything",
        )


def eap_ig_file(
    circuit: Circuit,
    in_graph: Mapping[Node, bool],
    node_scores: Mapping[Node, float],
    neurons: Bool[np.ndarray, "src d_model"] | None,
    neuron_scores: Float[np.ndarray, "src d_model"] | None,
) -> CircuitFile:
    """Return the file, after the checks that hold for both forms.

    Raises:
        GraphError: an edge of the circuit belongs to a node that is not in the graph.
    """
    check_nodes(circuit, in_graph)
    return CircuitFile(
        "EAP-IG graph",
        circuit,
        node_scores,
        neurons,
        neuron_scores,
        notes=() if neurons is None else _notes(circuit, neurons),
    )


def _notes(circuit: Circuit, neurons: Bool[np.ndarray, "src d_model"]) -> tuple[str, ...]:
    """EAP-IG's evaluation with masks ablates a removed edge only in masked dimensions."""
    topology = circuit.topology
    if neurons.all():
        return ()
    live = {LOGITS, *(edge.dst for edge in circuit.live_edges)}
    writes = {node: bool(row.any()) for node, row in zip(topology.sources, neurons, strict=True)}
    entered = {edge.src for edge in circuit.live_edges}
    passed = [
        edge
        for edge in topology.edges
        if edge not in circuit.edges
        and edge.dst in live
        and edge.src in entered
        and writes[edge.src]
    ]
    if not passed:
        return ()
    return (
        f"{len(passed)} removed edges lead from nodes with neurons in the circuit to nodes in the "
        f"circuit ({listed(passed)}): here they carry the ablated output; evaluate_graph of "
        "EAP-IG lets the kept neurons pass them",
    )
