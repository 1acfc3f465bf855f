"""The faithfulness curve of a circuit, from its scores or from the circuits of its search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation import (
    CurvePoint,
    Scale,
    circuits_at_fractions,
    circuits_from_scores,
    measure_curve,
)
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.cut import Rank


def curve_of(
    bench: Bench,
    scale: Scale,
    circuit: Circuit,
    family: Sequence[Circuit],
    rank: Rank,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[CurvePoint, ...]:
    """Return the faithfulness curve of a circuit, or () if no smaller circuits are known.

    They are cut by the scores of the circuit, or taken from `family`, its search at other sizes.
    """
    topology = circuit.topology
    if circuit.is_scored:
        return measure_curve(
            bench, scale, circuits_from_scores(topology, circuit.scores, rank), advance
        )
    if not family:
        return ()
    return measure_curve(bench, scale, circuits_at_fractions(topology, [circuit, *family]), advance)
