"""The faithfulness curve of a circuit, from its scores or from the circuits of its search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation import (
    CurvePoint,
    Scale,
    circuit_model_distance,
    circuit_performance_ratio,
    circuits_at_fractions,
    circuits_from_scores,
    measure_curve,
)
from acdc_pipeline.evaluation.curve import area_intervals
from acdc_pipeline.evaluation.intervals import Interval, PromptScale
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.selection import Selection


@dataclass(frozen=True)
class Areas:
    """A faithfulness curve and its areas.

    Args:
        cmd: area between the curve and 1; lower is better.
        cpr: area under the curve; higher is better.
        cmd_interval, cpr_interval: their 95 % bootstrap intervals over prompts; None with fewer
            than two prompts.
    """

    points: tuple[CurvePoint, ...]
    cmd: float
    cpr: float
    cmd_interval: Interval | None
    cpr_interval: Interval | None


def areas_of(
    bench: Bench,
    scale: Scale,
    ends: PromptScale,
    circuit: Circuit,
    family: Sequence[Circuit],
    selection: Selection,
    advance: Callable[[int], None] = lambda _: None,
) -> Areas | None:
    """Return the faithfulness curve of a circuit and its areas; None without smaller circuits.

    They are cut by the scores of the circuit, or taken from `family`, its search at other sizes.

    Args:
        ends: the ends of `scale` by prompt.
    """
    topology = circuit.topology
    if circuit.is_scored:
        circuits = circuits_from_scores(topology, circuit.scores, selection)
    elif family:
        circuits = circuits_at_fractions(topology, [circuit, *family])
    else:
        return None
    points = measure_curve(bench, scale, circuits, advance, ends)
    return Areas(
        points,
        circuit_model_distance(points),
        circuit_performance_ratio(points),
        *area_intervals(points, ends),
    )
