"""SVG figures of evaluations and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.text import format_number, format_percent

if TYPE_CHECKING:
    from acdc_pipeline.regression.pair import Pair
    from acdc_pipeline.workflows.evaluation import Evaluation


def draw_evaluation(found: Evaluation, *, title: str) -> str:
    """Draw the faithfulness curve with the circuit itself and random circuits of its size."""
    from acdc_pipeline.plotting.faithfulness_curve import draw_faithfulness_curve
    from acdc_pipeline.plotting.scatter import Mark

    def mark(share: float, faithfulness: float, name: str) -> Mark:
        return Mark(share, faithfulness, f"{name}: faithfulness {format_number(faithfulness)}")

    share = len(found.circuit) / found.circuit.topology.n_edges
    areas = (
        ""
        if found.cpr is None
        else f" CPR {format_number(found.cpr)}, CMD {format_number(found.cmd)}."
    )
    return draw_faithfulness_curve(
        [
            # A share that allows no circuit is part of the line but has no dot.
            mark(point.fraction, point.faithfulness, f"{point.edges} edges")
            if point.edges
            else Mark(point.fraction, point.faithfulness, "")
            for point in found.curve or ()
        ],
        mark(share, found.faithfulness, "this circuit"),
        [mark(share, value, "random circuit") for value in found.null],
        title=title,
        subtitle=f"Faithfulness in {found.scale.metric} against the share of edges.{areas} "
        f"Circle: the circuit, {format_percent(share)}. Grey: random circuits of its size.",
    )


def draw_pairs(first: str, second: str, pairs: Sequence[Pair]) -> str:
    """Draw what the circuits of two runs or models, named `first` and `second`, share."""
    from acdc_pipeline.plotting.overlap import OverlapRow, draw_overlap

    rows = [
        OverlapRow(
            pair.label,
            pair.edges.counts if pair.edges else None,
            pair.role_edges.counts if pair.role_edges else None,
        )
        for pair in pairs
    ]
    return draw_overlap(first, second, rows)
