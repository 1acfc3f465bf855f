"""The scores of auto-circuit (`PruneScores`): for each receiving module a score of every source.

Sources are in computation order: the residual stream at the start, then of each layer the heads
and the MLP.

| module | shape | receivers |
|---|---|---|
| `blocks.L.hook_q_input`, `…k…`, `…v…` | head source | a slot of every head (`separate_qkv=True`) |
| `blocks.L.hook_attn_in` | head source | all three slots of every head (`separate_qkv=False`) |
| `blocks.L.hook_mlp_in` | source | the MLP |
| `blocks.L.hook_resid_post` of the last layer | source | the logits |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import SLOTS, Edge, Receiver
from acdc_pipeline.graph.files.circuit_file import CircuitFile, listed
from acdc_pipeline.graph.node import LOGITS, mlp
from acdc_pipeline.graph.topology import Topology

_MODULE = re.compile(r"blocks\.(\d+)\.hook_(?:([qkv])_input|(attn_in)|(mlp_in)|(resid_post))\Z")


def is_auto_circuit(values: Mapping[Any, Any]) -> bool:
    """Whether `values` has the keys of auto-circuit's scores."""
    return any(isinstance(key, str) and _MODULE.match(key) for key in values)


def read_auto_circuit_scores(values: Mapping[Any, Any], topology: Topology) -> CircuitFile:
    """Return the scores of every edge; the file has no circuit.

    Args:
        values: module name -> array of scores. The file does not describe its graph, so that it
            is compared with `topology`, the model's.

    Raises:
        GraphError: layers of the model differ in their parts, a module is missing or unknown, a
            shape is not the graph's, or a score is not finite.
    """
    topology.require_same_parts("a file of auto-circuit's scores")
    scores: dict[Edge, float] = {}
    for name, array in values.items():
        groups = list(_receivers(str(name), topology))
        n_sources = topology.n_sources_of(groups[0][0])
        heads = (len(groups),) if groups[0][0].node.kind == "head" else ()
        shape = (*heads, n_sources)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "bfiu":
            raise GraphError("is not a tensor of numbers", field=str(name))
        if array.shape != shape:
            per_token = array.ndim == len(shape) + 1
            raise GraphError(
                f"has shape {array.shape}"
                + (": scores for every token position have no counterpart" if per_token else ""),
                field=str(name),
                allowed=f"{shape}: {'head, ' if heads else ''}source, as in the model's graph",
            )
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise GraphError(f"{count} scores are not finite", field=str(name))
        for receivers, row in zip(groups, np.atleast_2d(array).tolist(), strict=True):
            for receiver in receivers:
                for source, score in zip(topology.sources_of(receiver), row, strict=True):
                    edge = Edge.into(source, receiver)
                    if edge in scores:
                        raise GraphError(f"scores {edge}, and another module too", field=str(name))
                    scores[edge] = float(score)
    if missing := [edge for edge in topology.edges if edge not in scores]:
        modules = dict.fromkeys(_module_of(edge.receiver, topology) for edge in missing)
        raise GraphError(
            f"no scores for {listed(modules)}", allowed="scores of every module that reads sources"
        )
    in_order = {edge: scores[edge] for edge in topology.edges}
    return CircuitFile("auto-circuit scores", Circuit(topology, frozenset(), in_order))


def auto_circuit_scores(circuit: Circuit) -> dict[str, np.ndarray]:
    """Return the scores of every edge as auto-circuit has them with `separate_qkv=True`.

    Raises:
        GraphError: an edge has no score, or layers differ in their parts.
    """
    topology = circuit.topology
    topology.require_same_parts("a file of auto-circuit's scores")
    rows: dict[str, list[list[float]]] = {}
    for receiver in topology.receivers:
        into = [Edge.into(source, receiver) for source in topology.sources_of(receiver)]
        for edge in into:
            if edge not in circuit.scores:
                raise GraphError(f"{edge} has no score, and auto-circuit's files have no other")
        row = [circuit.scores[edge] for edge in into]
        rows.setdefault(_module_of(receiver, topology), []).append(row)
    return {
        name: np.array(found if "hook_resid_post" not in name and "mlp" not in name else found[0])
        for name, found in rows.items()
    }


def _receivers(name: str, topology: Topology) -> Iterable[tuple[Receiver, ...]]:
    """The receivers of each row of a module's scores."""
    match = _MODULE.match(name)
    layer = int(match[1]) if match else -1
    if match and layer < topology.n_layers:
        if match[2] or match[3]:
            for node in topology.heads(layer):
                yield tuple(Receiver(node, slot) for slot in SLOTS if match[2] in (slot, None))
            return
        if match[4] and topology.has_mlp:
            yield (Receiver(mlp(layer)),)
            return
        if match[5] and layer == topology.n_layers - 1:
            yield (Receiver(LOGITS),)
            return
    raise GraphError(
        f"unknown module '{name}', and a file is never read in part",
        allowed="blocks.L.hook_q_input, …k…, …v…"
        + (", blocks.L.hook_mlp_in" if topology.has_mlp else "")
        + f", blocks.{topology.n_layers - 1}.hook_resid_post, with L below {topology.n_layers}",
    )


def _module_of(receiver: Receiver, topology: Topology) -> str:
    node = receiver.node
    if node == LOGITS:
        return f"blocks.{topology.n_layers - 1}.hook_resid_post"
    kind = "mlp_in" if node.kind == "mlp" else f"{receiver.slot}_input"
    return f"blocks.{node.layer}.hook_{kind}"
