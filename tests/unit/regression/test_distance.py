"""How far apart two findings are."""

from __future__ import annotations

import pytest

from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.circuit import jaccard
from acdc_pipeline.regression.finding import distances, rank_correlation
from tests.regressions import EDGES, finding


def test_distances_of_a_finding_from_itself_are_zero():
    assert set(distances(finding(), finding()).values()) == {0.0}


def test_distances_of_one_edge_exchanged_are_counted_by_hand():
    # four of six edges shared; a1.h1 is new among the heads a0.h0 and a1.h0
    other = (*EDGES[:4], "a1.h1->logits")
    found = distances(finding(), finding(other, kl=0.75))
    assert found["edges"] == pytest.approx(2 / 6)
    assert found["heads"] == pytest.approx(1 / 3)
    assert found["size"] == 0
    assert found["kl"] == 0.25
    assert found["model_accuracy"] == 0


def test_distances_without_an_order_have_no_ranking():
    assert "ranking" not in distances(finding(EDGES[:2]), finding(EDGES[:2]))


def test_jaccard_of_two_empty_sets_is_one():
    assert jaccard((), ()) == 1.0


def test_rank_correlation_of_the_reversed_order_is_minus_one():
    edges = [Edge.parse(edge) for edge in EDGES]
    rising = dict(zip(edges, (1.0, 2.0, 3.0, 4.0, 5.0), strict=True))
    falling = {edge: -6 + score for edge, score in rising.items()}
    assert rank_correlation(rising, falling) == pytest.approx(-1)


def test_rank_correlation_shares_ranks_among_equal_scores():
    # ranks 1.5 1.5 3 against 1 2 3: Pearson of these is sqrt(3) / 2
    edges = [Edge.parse(edge) for edge in EDGES[:3]]
    a = dict(zip(edges, (1.0, 1.0, 2.0), strict=True))
    b = dict(zip(edges, (1.0, 2.0, 3.0), strict=True))
    assert rank_correlation(a, b) == pytest.approx(3**0.5 / 2)


def test_rank_correlation_of_equal_scores_is_undefined():
    edges = [Edge.parse(edge) for edge in EDGES]
    assert rank_correlation(dict.fromkeys(edges, 1.0), dict.fromkeys(edges, 2.0)) is None
