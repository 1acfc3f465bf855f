"""Faithfulness against circuit size, and the areas CMD and CPR of the MIB benchmark.

Mueller et al. 2025, "MIB: A Mechanistic Interpretability Benchmark" (arXiv 2504.13151), section 3.
CMD and CPR are trapezoidal sums over the fractions of edges at which circuits were measured, on a
linear axis.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation.faithfulness import Scale
from acdc_pipeline.evaluation.intervals import Interval, PromptScale
from acdc_pipeline.evaluation.measure import Advance, score_circuits
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.cut import score_array
from acdc_pipeline.graph.selection import Selection

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the graph's edges at which the MIB benchmark measures."""


@dataclass(frozen=True)
class CurvePoint:
    """A circuit on a faithfulness curve.

    Args:
        fraction: largest share of the graph's edges allowed.
        value: the metric, in its own sign.
        faithfulness: 1 for the whole model, 0 for the empty circuit.
        kl: KL(model ‖ circuit) in nats, mean over answers; lower is better.
        interval: 95 % bootstrap interval of `faithfulness` over prompts; None if not measured, and
            without edges, where it is 0 whatever the prompts.
        by_prompt: the metric of each prompt, summed over its answers; None if not measured.
    """

    fraction: float
    edges: int
    value: float
    faithfulness: float
    kl: float
    interval: Interval | None = None
    by_prompt: tuple[float, ...] | None = None


def measure_curve(
    bench: Bench,
    scale: Scale,
    circuits: Mapping[float, Circuit],
    advance: Advance = lambda _: None,
    ends: PromptScale | None = None,
) -> tuple[CurvePoint, ...]:
    """Measure the circuit of each fraction, smallest first; equal neighbours are measured once.

    Args:
        ends: the ends of `scale` by prompt, for intervals; None leaves these out.
    """
    in_order = sorted(circuits.items(), key=lambda item: item[0])
    groups = [
        (edges, [part for part, _ in same])
        for edges, same in groupby(in_order, key=lambda item: item[1].edges)
    ]
    masks = (bench.weights.topology.edge_mask(edges) for edges, _ in groups)
    measured = score_circuits(bench, masks, list(dict.fromkeys([scale.metric, "kl"])), advance)
    out: list[CurvePoint] = []
    for (edges, parts), found in zip(groups, measured, strict=True):
        value, by_prompt = found.mean[scale.metric], found.by_prompt[scale.metric]
        point = CurvePoint(
            fraction=0.0,
            edges=len(edges),
            value=value,
            faithfulness=scale.faithfulness(value),
            kl=found.mean["kl"],
            interval=None if ends is None or not edges else ends.faithfulness(by_prompt),
            by_prompt=tuple(by_prompt.tolist()),
        )
        out += [replace(point, fraction=part) for part in parts]
    return tuple(out)


def circuits_from_scores(
    topology: Topology, scores: Mapping[Edge, float], selection: Selection
) -> dict[float, Circuit]:
    """Return for each of `FRACTIONS` the circuit of at most that size that `selection` cuts.

    That of fraction 1 has every edge on a path, also those that a filter left out.
    """
    sizes = {part: most for part in FRACTIONS if (most := _max_edges(part, topology))}
    values = score_array(topology, scores)
    masks = selection.masks(topology, values, [most for part, most in sizes.items() if part < 1])
    masks += Selection(selection.rank).masks(topology, values, [topology.n_edges])
    out = {part: Circuit(topology, frozenset()) for part in FRACTIONS if part not in sizes}
    for part, mask in zip(sizes, masks, strict=True):
        out[part] = Circuit(topology, frozenset(topology.edges_in(mask)))
    return {part: out[part] for part in FRACTIONS}


def circuits_at_fractions(topology: Topology, found: Collection[Circuit]) -> dict[float, Circuit]:
    """Return for each of `FRACTIONS` the largest of the circuits `found` of at most that size.

    The empty circuit if all are larger; the whole model at 1. For methods that find a circuit per
    threshold and give no scores to cut by. A coarse set of thresholds can only lower the curve,
    since a circuit counts only at fractions that are large enough for it.
    """
    choices = [Circuit(topology, frozenset()), *found, Circuit.full(topology)]
    return {
        part: max((c for c in choices if len(c) <= _max_edges(part, topology)), key=len)
        for part in FRACTIONS
    }


def _max_edges(fraction: float, topology: Topology) -> int:
    # Products such as 0.29 * 100 are rounded to just below the integer.
    return math.floor(fraction * topology.n_edges + 1e-9)


def circuit_performance_ratio(points: Sequence[CurvePoint]) -> float:
    """Return CPR: the area under the faithfulness curve. Higher is better, without bounds.

    It rewards components that increase the metric, even beyond that of the model. Faithfulness 1 at
    every fraction gives 0.999 over 0.001 to 1.
    """
    return _area((p.fraction, p.faithfulness) for p in points)


def circuit_model_distance(points: Sequence[CurvePoint]) -> float:
    """Return CMD: the area between the faithfulness curve and 1. Lower is better; 0 is best.

    It asks for the components of the model's behaviour, so a value above the model's is as wrong as
    one below.
    """
    return _area((p.fraction, abs(1 - p.faithfulness)) for p in points)


def area_intervals(
    points: Sequence[CurvePoint], ends: PromptScale
) -> tuple[Interval | None, Interval | None]:
    """Return the 95 % bootstrap intervals over prompts of CMD and of CPR.

    Both are None where a point has no values by prompt.
    """
    measured = [point.by_prompt for point in points if point.by_prompt is not None]
    if not points or len(measured) < len(points):
        return None, None
    fractions, circuits = [point.fraction for point in points], np.array(measured)
    return (
        ends.model_distance(fractions, circuits),
        ends.ratio_performance(fractions, circuits),
    )


def _area(points: Iterable[tuple[float, float]]) -> float:
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))
