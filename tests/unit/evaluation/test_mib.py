"""MIB's protocol against plain loops of its definitions."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from acdc_pipeline.evaluation import (
    FRACTIONS,
    auc,
    measure_scale,
    measure_value,
    roc_of_scores,
)
from acdc_pipeline.evaluation.mib import measure_mib, mib_circuits, mib_roc
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.circuit import Rank
from acdc_pipeline.models.zoo import compiled
from tests.compiled_bench import compiled_bench

SMALL = Topology(n_layers=2, n_heads=3, has_mlp=True)


def drawn_scores(topology: Topology, seed: int) -> dict[Edge, float]:
    rng = random.Random(seed)
    return {edge: rng.uniform(-1, 1) for edge in topology.edges}


def without_loose_ends(edges: Iterable[Edge]) -> set[Edge]:
    """Edges without those whose source has no way in, or whose receiver has no way on."""
    kept = set(edges)
    while True:
        into = {edge.dst for edge in kept} | {"input"}
        out_of = {edge.src for edge in kept} | {"logits"}
        named_in, named_out = set(map(str, into)), set(map(str, out_of))
        left = {e for e in kept if str(e.src) in named_in and str(e.dst) in named_out}
        if left == kept:
            return kept
        kept = left


def trapezoids(x: Iterable[float], y: Iterable[float]) -> float:
    xs, ys = list(x), list(y)
    total = 0.0
    for i in range(len(xs) - 1):
        total += (xs[i + 1] - xs[i]) * (ys[i] + ys[i + 1]) / 2
    return total


@pytest.mark.parametrize("rank", ["magnitude", "signed"])
def test_circuits_are_the_best_edges_of_each_share_without_loose_ends(rank):
    scores = drawn_scores(SMALL, seed=1)
    worth = {edge: abs(s) if rank == "magnitude" else s for edge, s in scores.items()}
    ranked = sorted(worth, key=lambda edge: worth[edge], reverse=True)
    circuits = mib_circuits(SMALL, scores, rank)
    assert list(circuits) == list(FRACTIONS)
    for share, circuit in circuits.items():
        assert circuit.edges == without_loose_ends(ranked[: int(share * len(ranked))])
    assert len(circuits[1.0]) == SMALL.n_edges


def test_areas_are_those_of_the_definition():
    bench = compiled_bench("compiled-negative")
    topology = bench.weights.topology
    scores = drawn_scores(topology, seed=2)
    scale = measure_scale(bench, "logit_diff")
    found = measure_mib(bench, scale, [Circuit(topology, frozenset(), scores)])

    def curve(rank) -> list[float]:
        values = (
            measure_value(bench, "logit_diff", circuit.edges)
            for circuit in mib_circuits(topology, scores, rank).values()
        )
        return [(value - scale.nothing) / (scale.whole - scale.nothing) for value in values]

    distances = [abs(1 - f) for f in curve("magnitude")]
    assert found.cmd == pytest.approx(trapezoids(FRACTIONS, distances))
    assert found.cpr == pytest.approx(trapezoids(FRACTIONS, curve("signed")))
    assert [point.faithfulness for point in found.by_sign] == pytest.approx(curve("signed"))


def test_circuits_of_a_search_count_from_the_share_that_they_fit():
    bench = compiled_bench("compiled-sum")
    truth = compiled.true_circuit("compiled-sum")
    found = measure_mib(bench, measure_scale(bench, "logit_diff"), [truth])
    share = len(truth) / truth.topology.n_edges
    expected = [1.0 if fraction >= share else 0.0 for fraction in FRACTIONS]
    assert [point.faithfulness for point in found.by_sign] == pytest.approx(expected, abs=1e-6)
    assert found.cmd == pytest.approx(0.999 - found.cpr)


def test_area_under_roc_is_the_chance_that_a_right_edge_is_above_a_wrong_one():
    scores = {edge: round(s, 1) for edge, s in drawn_scores(SMALL, seed=3).items()}
    truth = set(random.Random(4).sample(SMALL.edges, 9))
    magnitudes = {edge: abs(score) for edge, score in scores.items()}
    ranks: dict[Rank, dict[Edge, float]] = {"signed": scores, "magnitude": magnitudes}
    for rank, worth in ranks.items():
        pairs = [(worth[a], worth[b]) for a in truth for b in scores if b not in truth]
        chance = sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs)
        assert auc(roc_of_scores(scores, truth, rank)) == pytest.approx(chance)


def test_ten_points_of_mib_take_edges_from_the_logits_up():
    scores = drawn_scores(SMALL, seed=5)
    truth = set(random.Random(6).sample(SMALL.edges, 20))
    expected = []
    for share in FRACTIONS:
        left, taken, reached = share * SMALL.n_edges, set(), {"logits"}
        while left > 0:
            left -= 1
            open_edges = [e for e in SMALL.edges if str(e.dst) in reached and e not in taken]
            taken.add(best := max(open_edges, key=lambda edge: abs(scores[edge])))
            reached.add(str(best.src))
        kept = without_loose_ends(taken)
        wrong = len(kept - truth) / (SMALL.n_edges - len(truth))
        expected.append((wrong, len(kept & truth) / len(truth)))
    for found, point in zip(mib_roc(SMALL, scores, truth), expected, strict=True):
        assert found == pytest.approx(point)
