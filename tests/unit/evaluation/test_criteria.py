"""Completeness, minimality, ROC and Jaccard: by hand, and where redundancy is built in."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import (
    Known,
    Parts,
    completeness,
    mean_pairwise_jaccard,
    measure_scale,
    measure_value,
    minimality,
    parts_by_node,
    pessimistic_auc,
    roc_of_circuits,
    roc_of_scores,
    worst_knockouts,
)
from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.graph.circuit import jaccard
from acdc_pipeline.models.zoo import compiled
from tests.compiled_bench import compiled_bench

TINY = Topology(n_layers=1, n_heads=1, has_mlp=False)
"""Five edges: input into q, k and v, then input and head into the logits."""


def parts_by_edge(circuit: Circuit) -> Parts:
    """One part per edge."""
    return {
        str(edge): np.array([circuit.topology.edge_index(edge)]) for edge in circuit.sorted_edges
    }


def of(*indices: int) -> Circuit:
    return Circuit(TINY, frozenset(TINY.edges[i] for i in indices))


def test_main_path_of_the_backup_model_is_faithful_and_not_complete():
    name = "compiled-backup"
    bench, topology = compiled_bench(name), compiled_bench(name).weights.topology
    main = Circuit(topology, compiled.found_by_acdc(name))
    scale = measure_scale(bench, "kl")
    found = {
        k.parts: k for k in completeness(bench, scale, main, parts_by_node(main), draws=0, seed=0)
    }
    assert found[()].incompleteness == pytest.approx(0, abs=1e-6)
    # without the main head the model's backup answers; the circuit has none
    without = found["a0.h1",]
    assert without.model == pytest.approx(0, abs=1e-4)
    assert without.incompleteness > 0.9


def test_both_paths_of_the_backup_model_together_are_complete():
    name = "compiled-backup"
    bench = compiled_bench(name)
    truth = compiled.true_circuit(name)
    found = completeness(
        bench, measure_scale(bench, "kl"), truth, parts_by_node(truth), draws=4, seed=0
    )
    assert max(k.incompleteness for k in found) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", ["compiled-backup", "compiled-or", "compiled-sort"])
def test_greedy_search_finds_the_worst_of_all_sets_of_parts(name: str):
    """Of few parts every set can be tried: the oracle is the definition."""
    bench = compiled_bench(name)
    circuit = Circuit(bench.weights.topology, compiled.found_by_acdc(name))
    scale, parts = measure_scale(bench, "kl"), parts_by_node(circuit)
    whole, every = circuit.topology.edge_set, circuit.topology.edges
    incompleteness = {}
    for n in range(len(parts) + 1):
        for names in itertools.combinations(parts, n):
            gone = {every[place] for part in names for place in parts[part]}
            ours, model = (measure_value(bench, "kl", e - gone) for e in (circuit.edges, whole))
            incompleteness[names] = abs(ours - model) / scale.span
    for found in worst_knockouts(bench, scale, circuit, parts, restarts=2, seed=0):
        assert found.incompleteness == pytest.approx(max(incompleteness.values()), abs=1e-6)


def test_greedy_search_without_parts_or_restarts_is_nothing_more():
    bench = compiled_bench("compiled-backup")
    whole = Circuit.full(bench.weights.topology)
    scale = measure_scale(bench, "kl")
    (found,) = worst_knockouts(bench, scale, whole, {}, restarts=1, seed=0)
    assert (found.parts, found.incompleteness) == ((), 0)
    assert worst_knockouts(bench, scale, whole, {}, restarts=0, seed=0) == ()


def test_redundant_heads_are_needed_only_with_the_other_gone():
    name = "compiled-or"
    bench, truth = compiled_bench(name), compiled.true_circuit(name)
    scale, parts = measure_scale(bench, "kl"), parts_by_node(truth)
    heads = [str(node) for node in truth.nodes if node.kind == "head"]
    assert len(heads) == 2
    alone = {n.part: n for n in minimality(bench, scale, truth, parts, draws=0, seed=0)}
    drawn = {n.part: n for n in minimality(bench, scale, truth, parts, draws=8, seed=0)}
    for one, other in (heads, reversed(heads)):
        assert alone[one].score == pytest.approx(0, abs=1e-6)
        assert drawn[one].score > 0.3
        assert other in drawn[one].without
    assert alone["m0"].score > 0.3


def test_edge_outside_the_truth_is_not_needed():
    bench = compiled_bench("compiled-or")
    truth = compiled.true_circuit("compiled-or")
    extra = next(edge for edge in truth.topology.edges if edge not in truth)
    circuit = Circuit(truth.topology, truth.edges | {extra})
    found = minimality(
        bench, measure_scale(bench, "kl"), circuit, parts_by_edge(circuit), draws=2, seed=0
    )
    assert {need.part: need for need in found}[str(extra)].score < 1e-6


def test_every_true_edge_without_redundancy_is_needed():
    bench = compiled_bench("compiled-induction")
    truth = compiled.true_circuit("compiled-induction")
    found = minimality(
        bench, measure_scale(bench, "kl"), truth, parts_by_edge(truth), draws=0, seed=0
    )
    assert min(need.score for need in found) > 0.3


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([], 0.0),
        ([(0.0, 1.0)], 1.0),
        ([(0.2, 0.6)], 0.8 * 0.6),
        # the second point is below the first and does not count
        ([(0.2, 0.6), (0.5, 0.4)], 0.8 * 0.6),
        ([(0.0, 0.5), (0.25, 1.0)], 0.25 * 0.5 + 0.75),
        ([(0.5, 0.5)], 0.25),
    ],
)
def test_pessimistic_auc_by_hand(points: list[tuple[float, float]], area: float):
    assert pessimistic_auc(points) == pytest.approx(area, abs=1e-12)


def test_auc_of_different_scores_is_the_share_of_pairs_in_the_right_order():
    topology = Topology(n_layers=2, n_heads=2, has_mlp=True)
    rng = random.Random(0)
    scores = {edge: rng.random() for edge in topology.edges}
    truth = frozenset(rng.sample(topology.edges, 9))
    pairs = itertools.product(truth, topology.edge_set - truth)
    expected = [scores[right] > scores[wrong] for right, wrong in pairs]
    area = pessimistic_auc(roc_of_scores(scores, truth, "signed"))
    assert area == pytest.approx(sum(expected) / len(expected), abs=1e-12)


def test_auc_of_equal_scores_counts_against_the_method():
    edges = TINY.edges
    scores = dict.fromkeys(edges, 1.0)
    assert pessimistic_auc(roc_of_scores(scores, edges[:2], "signed")) == 0
    # magnitude: the negative score comes first
    scores = {edge: -2.0 if edge == edges[0] else 1.0 for edge in edges}
    assert pessimistic_auc(roc_of_scores(scores, edges[:1], "magnitude")) == 1
    assert pessimistic_auc(roc_of_scores(scores, edges[:1], "signed")) == 0


def test_roc_of_circuits_is_a_point_each():
    reference = of(0, 1)
    found = roc_of_circuits([of(0), of(0, 1, 2), of(0, 1)], reference)
    assert found == ((0.0, 0.5), (pytest.approx(1 / 3), 1.0), (0.0, 1.0))


def test_roc_against_the_whole_graph_is_refused():
    with pytest.raises(InvalidInput, match="5 of 5 edges"):
        roc_of_circuits([of(0)], Circuit.full(TINY))


def test_jaccard_by_hand():
    assert jaccard(of(0, 1).edges, of(1, 2).edges) == 1 / 3
    assert jaccard(of().edges, of().edges) == 1
    assert mean_pairwise_jaccard([of(0), of(0), of(1)]) == pytest.approx(1 / 3)


def test_values_that_are_known_are_not_measured_again():
    bench = compiled_bench("compiled-backup")
    circuit = Circuit(bench.weights.topology, compiled.found_by_acdc("compiled-backup"))
    scale, parts = measure_scale(bench, "kl"), parts_by_node(circuit)
    known: Known = {}
    steps: list[int] = []

    def found(values: Known | None) -> tuple:
        one = completeness(
            bench, scale, circuit, parts, draws=2, seed=0, advance=steps.append, known=values
        )
        return one, worst_knockouts(bench, scale, circuit, parts, restarts=1, seed=0, known=values)

    first = found(known)
    progress = sum(steps)
    assert found(known) == first
    assert sum(steps) == 2 * progress
    # A value that was never measured shows that the second call took what was there.
    for key in known:
        known[key] += 1.0
    assert [one.circuit for one in found(known)[0]] == [one.circuit + 1 for one in first[0]]
    plain = found(None)
    for ours, theirs in zip(first[0] + first[1], plain[0] + plain[1], strict=True):
        assert ours.parts == theirs.parts
        assert ours.circuit == pytest.approx(theirs.circuit, abs=1e-9)
        assert ours.model == pytest.approx(theirs.model, abs=1e-9)
