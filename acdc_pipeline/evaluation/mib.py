"""The protocol of the MIB benchmark: which circuits are measured, their areas, and its AUROC.

Mueller et al. 2025 (arXiv 2504.13151), section 3, as its circuit track computes it
(github.com/hannamw/MIB-circuit-track). The metric is the logit difference, removed edges carry the
corrupted prompt's activations, areas are trapezoids over shares of edges on a linear axis. At a
share p the best int(p · n) of n edges are taken and then those that are on no path from input to
logits are removed, so that circuits may be smaller than p; a circuit of `acdc evaluate` has the
largest number of edges on such paths instead. CMD is measured on circuits ranked by |score|, CPR on
those ranked by signed score, as the table of the benchmark shows them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation.comparison import RocPoint, roc_of_circuits
from acdc_pipeline.evaluation.curve import (
    FRACTIONS,
    CurvePoint,
    circuit_model_distance,
    circuit_performance_ratio,
    circuits_at_fractions,
    measure_curve,
)
from acdc_pipeline.evaluation.faithfulness import Scale
from acdc_pipeline.evaluation.measure import Advance
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.circuit import Rank
from acdc_pipeline.graph.cut import greedy_indices, score_array
from acdc_pipeline.graph.files.score_cut import best


@dataclass(frozen=True)
class MibAreas:
    """The areas of one method on one model and task.

    Args:
        cmd: area between the curve and 1; lower is better.
        cpr: area under the curve; higher is better, without bounds.
        by_magnitude: the curve of CMD, smallest circuit first.
        by_sign: the curve of CPR.
    """

    cmd: float
    cpr: float
    by_magnitude: tuple[CurvePoint, ...]
    by_sign: tuple[CurvePoint, ...]


def mib_circuits(
    topology: Topology, scores: Mapping[Edge, float], rank: Rank
) -> dict[float, Circuit]:
    """Return the circuit of each share of `FRACTIONS`, as MIB cuts them from scores.

    Args:
        scores: of every edge; of equal ones the first in the order of the graph is the better.
    """
    values = score_array(topology, scores)
    worth = np.abs(values) if rank == "magnitude" else values
    out = {}
    for part in FRACTIONS:
        mask = np.zeros(topology.n_edges, dtype=bool)
        mask[best(worth, int(part * topology.n_edges))] = True
        out[part] = _pruned(topology, mask)
    return out


def measure_mib(
    bench: Bench, scale: Scale, found: Sequence[Circuit], advance: Advance = lambda _: None
) -> MibAreas:
    """Return the areas of a scored circuit, or of the circuits that a search found.

    Args:
        bench: the model on the prompts of a split, under corrupted ablation.
        scale: of the logit difference on these prompts.
        found: one circuit with scores, or several without: at each share the largest that fits.
    """
    largest = found[-1]
    if largest.is_scored:
        circuits = {
            rank: mib_circuits(largest.topology, largest.scores, rank)
            for rank in ("magnitude", "signed")
        }
        by_magnitude, by_sign = (
            measure_curve(bench, scale, at, advance) for at in circuits.values()
        )
    else:
        by_magnitude = measure_curve(
            bench, scale, circuits_at_fractions(largest.topology, found), advance
        )
        by_sign = by_magnitude
    return MibAreas(
        circuit_model_distance(by_magnitude),
        circuit_performance_ratio(by_sign),
        by_magnitude,
        by_sign,
    )


def mib_roc(
    topology: Topology, scores: Mapping[Edge, float], truth: Collection[Edge]
) -> tuple[RocPoint, ...]:
    """Return the points of the ROC curve that MIB measures on InterpBench's models.

    At each share p the ⌈p · n⌉ best edges by |score| are taken greedily, beginning at the logits,
    and pruned. InterpBench is Gupta et al. 2024 (arXiv 2407.14494).

    Raises:
        InvalidInput: all edges are right, or none.
    """
    order = list(greedy_indices(topology, score_array(topology, scores), "magnitude"))
    circuits = []
    for part in FRACTIONS:
        mask = np.zeros(topology.n_edges, dtype=bool)
        mask[list(islice(order, math.ceil(part * topology.n_edges)))] = True
        circuits.append(_pruned(topology, mask))
    return roc_of_circuits(circuits, Circuit(topology, frozenset(truth)))


def _pruned(topology: Topology, mask: np.ndarray) -> Circuit:
    circuit = Circuit(topology, frozenset(topology.edges_in(mask)))
    return replace(circuit, edges=circuit.live_edges)
