"""The `.pt` graphs of EAP-IG (`Graph.to_pt`): matrices of sources by receivers.

| key | shape | |
|---|---|---|
| cfg | | n_layers, n_heads, parallel_attn_mlp, d_model |
| src_nodes, dst_nodes | src, receiver | names, in the order of the matrices |
| edges_scores, edges_in_graph | src receiver | entries that are no edge are without meaning |
| nodes_in_graph | src | |
| nodes_scores | src | optional; NaN without a score |
| neurons_in_graph, neurons_scores | src d_model | optional; NaN without a score |
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.document import check_keys
from acdc_pipeline.graph.files.circuit_file import CircuitFile, listed
from acdc_pipeline.graph.files.eap_ig import eap_ig_file, topology_of
from acdc_pipeline.graph.topology import Topology

REQUIRED = (
    "cfg",
    "src_nodes",
    "dst_nodes",
    "edges_scores",
    "edges_in_graph",
    "nodes_in_graph",
)
OPTIONAL = ("nodes_scores", "neurons_in_graph", "neurons_scores")


def read_eap_ig_matrices(values: Mapping[str, Any]) -> CircuitFile:
    """Return everything that the contents of a `.pt` graph say, tensors given as arrays.

    Raises:
        GraphError: a key is missing, unknown or of another type or shape; or nodes and edges
            contradict one another.
    """
    check_keys(values, "", (*REQUIRED, *OPTIONAL))
    for key in REQUIRED:
        if key not in values:
            raise GraphError("missing", field=key, allowed=", ".join(REQUIRED))
    if not isinstance(values["cfg"], Mapping):
        raise GraphError("not a dictionary", field="cfg")
    names = values["src_nodes"]
    has_mlp = isinstance(names, list | tuple) and "m0" in names
    topology, d_model = topology_of(values["cfg"], has_mlp)
    _check_names(names, topology.sources, "src_nodes")
    _check_names(values["dst_nodes"], topology.receivers, "dst_nodes")
    pairs = (len(topology.sources), len(topology.receivers))
    scores = _by_edge(_array(values, "edges_scores", pairs), topology)
    _check_finite(scores, "edges_scores")
    present = _by_edge(_bits(values, "edges_in_graph", pairs), topology)
    scored = {e: s for e, s in zip(topology.edges, scores.tolist(), strict=True) if not isnan(s)}
    circuit = Circuit(topology, frozenset(topology.edges_in(present)), scored)
    sources = pairs[:1]
    nodes = _bits(values, "nodes_in_graph", sources).tolist()
    node_scores: dict[Any, float] = {}
    if "nodes_scores" in values:
        of_nodes = _array(values, "nodes_scores", sources)
        _check_finite(of_nodes, "nodes_scores")
        node_scores = dict(zip(topology.sources, of_nodes.tolist(), strict=True))
    masks = scores_of_neurons = None
    if d_model is None and ("neurons_in_graph" in values or "neurons_scores" in values):
        raise GraphError("missing", field="cfg.d_model", allowed="the width of the model")
    if "neurons_in_graph" in values:
        masks = _bits(values, "neurons_in_graph", (*sources, d_model))
    if "neurons_scores" in values:
        scores_of_neurons = _array(values, "neurons_scores", (*sources, d_model)).astype(float)
        _check_finite(scores_of_neurons, "neurons_scores")
    return eap_ig_file(
        circuit,
        dict(zip(topology.sources, nodes, strict=True)),
        node_scores,
        masks,
        scores_of_neurons,
    )


def eap_ig_matrices(circuit: Circuit, *, d_model: int) -> dict[str, Any]:
    """Return the contents of a `.pt` graph, tensors as arrays: what `Graph.from_pt` requires.

    EAP-IG has an MLP in every layer, so that a graph without them cannot be written. An edge
    without a score has NaN.

    Raises:
        GraphError: the graph has no MLPs, or its layers differ in their parts.
    """
    topology = circuit.topology
    topology.require_same_parts("a .pt graph of EAP-IG")
    if not topology.has_mlp:
        raise GraphError("a model without MLPs has no .pt graph of EAP-IG")
    shape = (len(topology.sources), len(topology.receivers))
    scores, present = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
    column = {receiver: index for index, receiver in enumerate(topology.receivers)}
    for edge in topology.edges:
        place = topology.source_index[edge.src], column[edge.receiver]
        scores[place] = circuit.scores.get(edge, np.nan)
        present[place] = edge in circuit.edges
    kept = set(circuit.nodes)
    return {
        "cfg": {
            "n_layers": topology.n_layers,
            "n_heads": topology.n_heads,
            "parallel_attn_mlp": topology.parallel,
            "d_model": d_model,
        },
        "src_nodes": [str(node) for node in topology.sources],
        "dst_nodes": [str(receiver) for receiver in topology.receivers],
        "edges_scores": scores,
        "edges_in_graph": present,
        "nodes_in_graph": np.array([node in kept for node in topology.sources]),
    }


def _by_edge(matrix: Shaped[np.ndarray, "src receiver"], topology: Topology) -> np.ndarray:
    """The entries that are edges, in the order of `topology.edges`."""
    counts = map(topology.n_sources_of, topology.receivers)
    return np.concatenate([matrix[:count, column] for column, count in enumerate(counts)])


def _check_names(names: object, expected: tuple[object, ...], field: str) -> None:
    ours = [str(item) for item in expected]
    if not isinstance(names, list | tuple):
        raise GraphError("is not a list of names", field=field)
    if list(names) != ours:
        wrong = [name for name, our in zip(names, ours, strict=False) if name != our]
        raise GraphError(
            f"are not the nodes of the graph in its order: {listed(wrong or [len(names)])}",
            field=field,
            allowed=f"{len(ours)} names: {listed(ours)}",
        )


def _array(values: Mapping[str, Any], key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    array = values[key]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "bfiu":
        raise GraphError("is not a tensor of numbers", field=key)
    if array.shape != shape:
        raise GraphError(f"has shape {array.shape}", field=key, allowed=f"{shape}")
    return array


def _bits(values: Mapping[str, Any], key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    array = _array(values, key, shape)
    if not np.isin(array, (0, 1)).all():
        raise GraphError("has values other than true and false", field=key)
    return array.astype(bool)


def _check_finite(array: Float[np.ndarray, ...], field: str) -> None:
    if np.isinf(array).any():
        raise GraphError(
            f"has {int(np.isinf(array).sum())} infinite values",
            field=field,
            allowed="finite numbers, or NaN for what has no score",
        )
