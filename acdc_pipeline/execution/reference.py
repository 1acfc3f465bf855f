"""How much of a task's published circuit a run found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.specs import ReferenceCircuit, RunSpec, TaskSpec


def reference_for(run: RunSpec, task: TaskSpec, topology: Topology) -> ReferenceCircuit | None:
    """The published circuit of `task`, if it was found in the model of `run`.

    Raises:
        GraphError: it names an edge that the model does not have.
    """
    reference = task.reference
    if reference is None or not reference.is_of(run.model):
        return None
    reference.circuit(topology)
    return reference


def agreement(circuit: Circuit, reference: ReferenceCircuit) -> dict[str, Any]:
    """`circuit` against the published one, as JSON data.

    Edges are compared, or heads where the reference names no edge. `found` of the `total`
    published ones are in the circuit, and `others` that are not published; `precision` is
    found / (found + others), None for an empty circuit, and `recall` is found / total. Both lie
    between 0 and 1, higher is better. `missing` are the names that were not found.
    """
    if reference.names_edges:
        published = reference.circuit(circuit.topology).sorted_edges
        return _overlap("edges", published, circuit.sorted_edges, reference)
    published = sorted(reference.heads, key=lambda node: (node.layer or 0, node.head or 0))
    ours = [node for node in circuit.nodes if node.kind == "head"]
    return _overlap("heads", published, ours, reference)


def _overlap(
    what: str, published: Iterable[object], ours: Iterable[object], reference: ReferenceCircuit
) -> dict[str, Any]:
    wanted, had = [str(one) for one in published], {str(one) for one in ours}
    missing = [name for name in wanted if name not in had]
    found = len(wanted) - len(missing)
    return {
        "compared": what,
        "source": reference.source,
        "ablation": reference.ablation,
        "total": len(wanted),
        "found": found,
        "others": len(had) - found,
        "precision": found / len(had) if had else None,
        "recall": found / len(wanted),
        "missing": missing,
    }
