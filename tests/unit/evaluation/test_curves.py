"""Faithfulness, its curve, its areas and its null: closed forms, and a known circuit."""

from __future__ import annotations

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import (
    FRACTIONS,
    CurvePoint,
    Scale,
    circuit_model_distance,
    circuit_performance_ratio,
    circuits_at_fractions,
    circuits_from_scores,
    measure_curve,
    measure_scale,
    percentile,
    random_masks,
)
from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.graph.selection import Selection
from acdc_pipeline.models.zoo import compiled
from tests.compiled_bench import compiled_bench

SMALL = Topology(n_layers=2, n_heads=4, has_mlp=False)


def random_circuits(topology: Topology, *, edges: int, n: int, seed: int) -> list[Circuit]:
    masks = random_masks(topology, edges=edges, n=n, seed=seed)
    return [Circuit(topology, frozenset(topology.edges_in(mask))) for mask in masks]


def points(*values: float) -> list[CurvePoint]:
    return [
        CurvePoint(part, 0, 0.0, value, 0.0) for part, value in zip(FRACTIONS, values, strict=True)
    ]


@pytest.mark.parametrize(
    ("whole", "nothing", "value", "expected"),
    [(4.0, 0.0, 3.0, 0.75), (0.0, 8.0, 2.0, 0.75), (2.0, -2.0, 4.0, 1.5), (2.0, 1.0, 0.0, -1.0)],
)
def test_faithfulness_is_the_place_between_nothing_and_the_model(
    whole: float, nothing: float, value: float, expected: float
):
    assert Scale("kl", whole, nothing).faithfulness(value) == expected


def test_scale_without_extent_is_refused():
    with pytest.raises(InvalidInput, match=r"leaves accuracy at 0\.5"):
        Scale("accuracy", 0.5, 0.5)


@pytest.mark.parametrize(
    ("faithfulness", "cpr", "cmd"),
    [
        ([1.0] * 10, 0.999, 0.0),
        ([2.0] * 10, 1.998, 0.999),
        ([0.0] * 10, 0.0, 0.999),
        # the diagonal: half of 1 - 0.001²
        (list(FRACTIONS), (1 - 1e-6) / 2, 0.999 - (1 - 1e-6) / 2),
        # nothing up to 0.5, then a line up to 1
        ([0.0] * 9 + [1.0], 0.25, 0.999 - 0.25),
    ],
)
def test_areas_have_their_closed_forms(faithfulness: list[float], cpr: float, cmd: float):
    assert circuit_performance_ratio(points(*faithfulness)) == pytest.approx(cpr, abs=1e-12)
    assert circuit_model_distance(points(*faithfulness)) == pytest.approx(cmd, abs=1e-12)


def test_circuits_at_fractions_are_the_largest_that_fit():
    edges = SMALL.edges
    assert len(edges) == 81
    found = [Circuit(SMALL, frozenset(edges[:n])) for n in (4, 8, 9)]
    chosen = circuits_at_fractions(SMALL, found)
    sizes = [len(chosen[part]) for part in FRACTIONS]
    # of 81: 0.05 allows 4.05, 0.1 allows 8.1
    assert sizes == [0, 0, 0, 0, 0, 4, 8, 9, 9, 81]


def test_circuits_from_scores_are_within_their_fraction():
    scores = {edge: float(-i) for i, edge in enumerate(SMALL.edges)}
    chosen = circuits_from_scores(SMALL, scores, Selection("signed"))
    assert [len(chosen[part]) <= part * 81 for part in FRACTIONS] == [True] * 10
    assert chosen[1.0].edges == SMALL.edge_set


def test_curve_of_true_scores_jumps_to_the_model_where_the_circuit_fits():
    bench = compiled_bench("compiled-induction")
    truth = compiled.truth("compiled-induction")
    scores = {edge: float(edge in truth) for edge in SMALL.edges}
    scale = measure_scale(bench, "kl")
    assert scale.whole == 0
    found = measure_curve(bench, scale, circuits_from_scores(SMALL, scores, Selection("signed")))
    # four true edges of 81: 0.02 allows one edge, on no path of its own; 0.05 allows four
    assert [p.edges for p in found[:4]] == [0, 0, 0, 0]
    assert found[5].edges == 4
    assert found[0].faithfulness == 0
    assert [p.faithfulness for p in found[5:]] == pytest.approx([1.0] * 5, abs=1e-6)
    assert [p.kl for p in found[5:]] == pytest.approx([0.0] * 5, abs=1e-6)


def test_random_circuits_are_connected_seeded_and_no_larger():
    drawn = random_circuits(SMALL, edges=12, n=5, seed=3)
    assert all(1 <= len(circuit) <= 12 for circuit in drawn)
    assert all(circuit.live_edges == circuit.edges for circuit in drawn)
    assert len({circuit.edges for circuit in drawn}) == 5
    again = random_circuits(SMALL, edges=12, n=5, seed=3)
    assert [c.edges for c in again] == [c.edges for c in drawn]
    assert [c.edges for c in random_circuits(SMALL, edges=12, n=5, seed=4)] != [
        c.edges for c in drawn
    ]


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, 0.0), (1.0, 0.125), (2.5, 0.5), (4.0, 0.875), (5.0, 1.0)]
)
def test_percentile_counts_those_below_and_half_of_the_equal(value: float, expected: float):
    assert percentile(value, [1.0, 2.0, 3.0, 4.0]) == expected
