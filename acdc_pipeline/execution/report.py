"""The metrics of a circuit, and its agreement with the published circuit of its task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.evaluation import Scale
from acdc_pipeline.execution.methods import MethodResult
from acdc_pipeline.execution.problem import Problem
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.specs import ReferenceCircuit, RunSpec, TaskSpec, circuit_method
from acdc_pipeline.specs.names import COUNTING_METRICS, MetricKey

# Tolerance, in units of the metric, between the last value of a method and a fresh forward pass of
# its circuit: float32 sums in another order differ by about 1e-6.
RECHECK_TOLERANCE = 1e-3


def report(
    run: RunSpec, task: TaskSpec, problem: Problem, found: MethodResult
) -> tuple[dict[str, float], dict[str, float]]:
    """Return metrics by name, and details about them, such as the faithfulness of the circuit.

    Metrics of the circuit have plain names; `model_…` are those of the whole model, `ablated_…`
    those with every edge removed.

    Raises:
        ExecutionFailed: the method and a fresh forward pass disagree about its circuit.
    """
    metric = circuit_method(run.method).metric
    names: list[MetricKey] = list(
        dict.fromkeys(["kl", *COUNTING_METRICS, metric, *task.metrics.report])
    )
    metrics = problem.measure(found.measured, names)
    whole = problem.measure_whole(names)
    ablated = problem.measure_empty(names)
    details = {}
    if found.last_value is not None:
        last = problem.sign(metric) * found.last_value
        details["recheck_error"] = _recheck(metric, last, metrics[metric])
    if not found.circuit.edges:
        metrics = dict(ablated)  # its faithfulness is 0 by definition, not by rounding
    if metric in ablated and whole[metric] != ablated[metric]:
        scale = Scale(metric, whole[metric], ablated[metric])
        details["faithfulness"] = scale.faithfulness(metrics[metric])
    metrics |= {f"model_{name}": value for name, value in whole.items() if name != "kl"}
    metrics |= {f"ablated_{name}": value for name, value in ablated.items()}
    return metrics, details


def reference_for(run: RunSpec, task: TaskSpec, topology: Topology) -> ReferenceCircuit | None:
    """Return the published circuit of `task`, if it is one of the model of `run`.

    That of a compiled model is its truth with spans where the run has these.

    Raises:
        GraphError: it names an edge that the model does not have.
    """
    ablation = circuit_method(run.method).ablation
    placed = compiled.reference_with_spans(run.model, task.name, ablation, topology)
    if placed is not None:
        return placed
    reference = task.reference
    if reference is None or not reference.is_of(run.model):
        return None
    reference.published_edges(topology)
    return reference


def agreement(circuit: Circuit, reference: ReferenceCircuit) -> dict[str, Any]:
    """Compare `circuit` with the published one. Returns JSON data.

    Edges are compared, or heads where the reference names no edge. `found` of the `total` published
    ones are in the circuit, with `others` that are not published; `precision` is
    found / (found + others), None for an empty circuit; `recall` is found / total. Both are between
    0 and 1, higher is better. `missing` are the names of published ones that were not found.

    In a circuit with spans, `by_position` is whether the reference names spans of it. Then edges
    are compared in their spans, except for those whose span the reference omits; else the circuit
    is compared without its spans.
    """
    if reference.names_edges and circuit.topology.spans:
        return _agreement_of_spans(circuit, reference)
    if reference.names_edges:
        published = reference.circuit(circuit.topology).sorted_edges
        return _overlap("edges", published, circuit.sorted_edges, reference)
    published = sorted(reference.heads, key=lambda node: (node.layer or 0, node.head or 0))
    ours = [node for node in circuit.nodes if node.kind == "head"]
    return _overlap("heads", published, ours, reference)


def _agreement_of_spans(circuit: Circuit, reference: ReferenceCircuit) -> dict[str, Any]:
    published = reference.published_edges(circuit.topology)
    anywhere = {edge for edge in published if edge.span is None}
    ours: dict[Edge, None] = {}
    by_position = reference.fits_spans(circuit.topology)
    for edge in circuit.sorted_edges:
        whole = replace(edge, span=None)
        ours[whole if whole in anywhere or not by_position else edge] = None
    return {"by_position": by_position, **_overlap("edges", published, ours, reference)}


def _recheck(metric: MetricKey, last: float, fresh: float) -> float:
    error = abs(last - fresh)
    if not error <= RECHECK_TOLERANCE * max(1.0, abs(fresh)):
        raise ExecutionFailed(
            f"the search ended {error:.1e} away from the {metric} of {fresh:.6g} that a fresh "
            "forward of its circuit gives",
            fix="run again with --dtype float64, and report the model",
        )
    return error


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
