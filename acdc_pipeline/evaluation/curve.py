"""Faithfulness against how much of the graph a circuit has."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import groupby

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation.faithfulness import Scale
from acdc_pipeline.evaluation.measure import measure_circuits
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.cut import Rank, cut_masks, score_array

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of the graph's edges: where the MIB benchmark measures."""


@dataclass(frozen=True)
class Point:
    """One circuit on a curve.

    Args:
        fraction: how much of the graph it was allowed to have.
        edges: how many edges it has.
        value: of the metric, in its own sign.
        faithfulness: 1 is the whole model, 0 nothing.
        kl: KL(model ‖ circuit) in nats, mean over answers; lower is better.
    """

    fraction: float
    edges: int
    value: float
    faithfulness: float
    kl: float


def curve(
    bench: Bench,
    scale: Scale,
    circuits: Mapping[float, Circuit],
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Point, ...]:
    """The circuits allowed at each fraction, measured; smallest fraction first.

    Neighbours that are the same circuit are measured once. `advance` is called with the number of
    circuits measured since the last call.
    """
    in_order = sorted(circuits.items(), key=lambda item: item[0])
    groups = [
        (edges, [part for part, _ in same])
        for edges, same in groupby(in_order, key=lambda item: item[1].edges)
    ]
    masks = (bench.weights.topology.edge_mask(edges) for edges, _ in groups)
    measured = measure_circuits(bench, masks, list(dict.fromkeys([scale.metric, "kl"])), advance)
    out: list[Point] = []
    for (edges, parts), found in zip(groups, measured, strict=True):
        value = found[scale.metric]
        faithful = scale.faithfulness(value)
        out += [Point(part, len(edges), value, faithful, found["kl"]) for part in parts]
    return tuple(out)


def circuits_from_scores(
    topology: Topology, scores: Mapping[Edge, float], rank: Rank
) -> dict[float, Circuit]:
    """At each of `FRACTIONS`, the best circuit of at most that many edges, by `graph.cut`."""
    sizes = {part: most for part in FRACTIONS if (most := _most(part, topology))}
    masks = cut_masks(topology, score_array(topology, scores), list(sizes.values()), rank)
    out = {part: Circuit(topology, frozenset()) for part in FRACTIONS if part not in sizes}
    for part, mask in zip(sizes, masks, strict=True):
        out[part] = Circuit(topology, frozenset(topology.edges_in(mask)))
    return {part: out[part] for part in FRACTIONS}


def circuits_at_fractions(topology: Topology, found: Collection[Circuit]) -> dict[float, Circuit]:
    """At each of `FRACTIONS`, the largest of the circuits `found` that has at most that many edges.

    Nothing where all are larger; the whole model at 1. For methods that find a circuit at a
    threshold and give no score to cut by: a search has to be as small as a fraction says before it
    counts there, so a coarse set of thresholds makes a curve worse and never better.
    """
    choices = [Circuit(topology, frozenset()), *found, Circuit.full(topology)]
    return {
        part: max((c for c in choices if len(c) <= _most(part, topology)), key=len)
        for part in FRACTIONS
    }


def _most(fraction: float, topology: Topology) -> int:
    # A product such as 0.29 * 100 lies just below the whole number that is meant.
    return math.floor(fraction * topology.n_edges + 1e-9)
