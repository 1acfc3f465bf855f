"""A baseline with a consensus: necessary edges may not be lost, and shares move in intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from acdc_pipeline.errors import BaselineError
from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.consensus import Consensus, Role
from acdc_pipeline.regression.baseline import (
    Baseline,
    ExpectedConsensus,
    encode,
    read_baseline,
    write_baseline,
)
from acdc_pipeline.regression.finding import finding_of, measure_tolerance
from acdc_pipeline.regression.verdict import judge
from acdc_pipeline.store import RunRecord
from tests.regressions import EDGES, MODEL, baseline, record


def _run(counts: Sequence[int], searches: int = 20, **metrics: float) -> RunRecord:
    """A run whose searches kept the edges so many times."""
    kept = {Edge.parse(edge): count for edge, count in zip(EDGES, counts, strict=True)}
    roles: dict[Edge, Role] = {
        edge: "necessary" if count == searches else "uncertain" for edge, count in kept.items()
    }
    inside = [str(edge) for edge, count in kept.items() if 2 * count > searches]
    made = record(inside)
    measured = {**made.metrics, **metrics}
    return replace(made, metrics=measured, consensus=Consensus(searches, 0.5, kept, roles))


def _baseline(run: RunRecord, others: Sequence[RunRecord] = ()) -> Baseline:
    found = finding_of(run)
    assert found.consensus is not None
    samples = dict(enumerate([*map(finding_of, others), *[found] * 5], 1))
    return baseline(
        edges={str(edge): 1.0 for edge in found.circuit.sorted_edges},
        tolerance=measure_tolerance(found, samples),
        consensus=ExpectedConsensus.of(found.consensus),
    )


def test_shares_may_move_as_long_as_their_intervals_meet():
    expected = _baseline(_run([20, 20, 18, 12, 9]))
    # 12 and 9 of 20 change sides of the line; their intervals meet.
    verdict = judge(expected, _run([20, 18, 20, 9, 12]), MODEL)
    assert verdict.status == "ok"
    assert {d.statistic for d in verdict.deviations} >= {"necessary", "shares", "edges"}


def test_lost_necessary_edges_and_moved_shares_are_drift_and_named():
    expected = _baseline(_run([20, 20, 18, 12, 0]), others=[_run([0, 0, 0, 0, 0])])
    verdict = judge(expected, _run([20, 10, 9, 12, 4]), MODEL)
    assert verdict.status == "drift"
    assert verdict.causes[:2] == (
        f"lost necessary edges: {EDGES[1]}",
        f"shares that moved: {EDGES[1]} in 20 of 20 circuits -> 10, "
        f"{EDGES[2]} in 18 of 20 circuits -> 9",
    )


def test_a_necessary_edge_of_few_searches_is_lost_though_intervals_meet():
    verdict = judge(_baseline(_run([4, 4, 4, 4, 4], 4)), _run([4, 4, 4, 4, 2], 4), MODEL)
    assert verdict.causes == (f"lost necessary edges: {EDGES[4]}",)


def test_metrics_keep_the_limits_of_other_samples():
    expected = _baseline(_run([20] * 5), others=[_run([20] * 5, kl=0.6)])
    assert judge(expected, _run([20] * 5, kl=0.59), MODEL).status == "ok"
    assert judge(expected, _run([20] * 5, kl=0.7), MODEL).status == "drift"


def test_consensus_of_a_baseline_is_read_as_it_was_written(tmp_path: Path):
    expected = _baseline(_run([20, 20, 18, 12, 9]))
    write_baseline(tmp_path, expected)
    assert read_baseline(tmp_path, expected.cell) == expected
    assert b"consensus" not in encode(baseline())
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace(f'"{EDGES[2]}": 18', f'"{EDGES[2]}": 21'))
    with pytest.raises(BaselineError, match="has more than 20 searches"):
        read_baseline(tmp_path, expected.cell)
