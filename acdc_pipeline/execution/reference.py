"""The agreement of a circuit with the published circuit of its task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.specs import ReferenceCircuit, RunSpec, TaskSpec


def reference_for(run: RunSpec, task: TaskSpec, topology: Topology) -> ReferenceCircuit | None:
    """Return the published circuit of `task`, if it is one of the model of `run`.

    Raises:
        GraphError: it names an edge that the model does not have.
    """
    reference = task.reference
    if reference is None or not reference.is_of(run.model):
        return None
    reference.circuit(topology)
    return reference


def agreement(circuit: Circuit, reference: ReferenceCircuit) -> dict[str, Any]:
    """Compare `circuit` with the published one. Returns JSON data.

    Edges are compared, or heads where the reference names no edge. `found` of the `total` published
    ones are in the circuit, with `others` that are not published; `precision` is
    found / (found + others), None for an empty circuit; `recall` is found / total. Both are between
    0 and 1, higher is better. `missing` are the names of published ones that were not found.
    """
    if reference.names_edges:
        published = reference.circuit(circuit.topology).sorted_edges
        return _overlap("edges", published, circuit.sorted_edges, reference)
    published = sorted(reference.heads, key=lambda node: (node.layer or 0, node.head or 0))
    ours = [node for node in circuit.nodes if node.kind == "head"]
    return _overlap("heads", published, ours, reference)


def _overlap(
    compared: str, published: Iterable[object], ours: Iterable[object], reference: ReferenceCircuit
) -> dict[str, Any]:
    expected, present = [str(item) for item in published], {str(item) for item in ours}
    missing = [name for name in expected if name not in present]
    found = len(expected) - len(missing)
    return {
        "compared": compared,
        "source": reference.source,
        "ablation": reference.ablation,
        "total": len(expected),
        "found": found,
        "others": len(present) - found,
        "precision": found / len(present) if present else None,
        "recall": found / len(expected),
        "missing": missing,
    }
