"""CMD, CPR and AUROC of the circuits that one method found in one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from acdc_pipeline.engine import Bench
from acdc_pipeline.errors import AcdcError
from acdc_pipeline.evaluation import (
    auc,
    circuits_at_fractions,
    circuits_from_scores,
    measure_scale,
    roc_of_circuits,
    roc_of_scores,
)
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.selection import Selection
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.specs.names import MetricName
from benchmarks.method_cells import areas, faithfulness
from benchmarks.searches import Found


@dataclass(frozen=True)
class Areas:
    """CMD, also on resamples, and CPR; None where the metric tells nothing apart."""

    cmd: float | None = None
    cpr: float | None = None
    resampled: Sequence[float] | None = None


def measure_areas(
    found: Sequence[Found], bench: Bench, metric: MetricName, counts: Float[np.ndarray, "n prompt"]
) -> Areas:
    """The areas of the circuits of one method, on prompts counted as in each row of `counts`."""
    last = found[-1]
    topology = last.circuit.topology
    circuits: Mapping[float, Circuit]
    if last.circuit.is_scored:
        circuits = circuits_from_scores(topology, last.circuit.scores, Selection(last.rank))
    else:
        circuits = circuits_at_fractions(topology, [one.circuit for one in found])
    try:
        measure_scale(bench, metric)
    except AcdcError:
        return Areas()
    curves = faithfulness(bench, metric, circuits, counts)
    distances = areas(np.abs(1 - curves))
    resampled = tuple(round(value, 6) for value in distances[1:].tolist())
    return Areas(float(distances[0]), float(areas(curves[:1])[0]), resampled)


def measure_auroc(model: str, found: Sequence[Found]) -> float:
    """The AUROC of scores, or of circuits at several thresholds: which edges are true."""
    truth, last = compiled.true_circuit(model), found[-1]
    if last.circuit.is_scored:
        return auc(roc_of_scores(last.circuit.scores, truth.edges, last.rank))
    return auc(roc_of_circuits([one.circuit for one in found], truth))
