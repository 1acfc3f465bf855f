"""Exchanges of edges, against circuits worked out by hand in a graph of two parallel heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from acdc_pipeline.algorithms.nested.exchanges import exchanged
from acdc_pipeline.algorithms.nested.forwards import Mask, Values
from acdc_pipeline.graph import Topology
from acdc_pipeline.graph.cut import cut_masks

GRAPH = Topology(1, 2, has_mlp=False)
NAMES = [str(edge) for edge in GRAPH.edges]
Q, K, V, OUT = "input->a0.h0<q>", "input->a0.h0<k>", "input->a0.h0<v>", "a0.h0->logits"
Q1, K1, V1, OUT1 = "input->a0.h1<q>", "input->a0.h1<k>", "input->a0.h1<v>", "a0.h1->logits"
DIRECT = "input->logits"
FIRST, SECOND, ALL = {Q, K, V, OUT}, {Q1, K1, V1, OUT1}, set(NAMES)


def mask_of(names: set[str]) -> Mask:
    return np.array([name in names for name in NAMES])


def values_of(given: Mapping[str, float]) -> Values:
    return np.array([given.get(name, 0.0) for name in NAMES])


def exchange(
    size: int,
    mask: set[str],
    within: set[str],
    leaving: Sequence[Mapping[str, float]],
    entering: Mapping[str, float],
) -> list[set[str]]:
    """The circuits that `exchanged` makes; edges without a value have 0."""
    rankings = [values_of(ranking) for ranking in leaving]
    made = exchanged(GRAPH, size, mask_of(mask), mask_of(within), rankings, values_of(entering))
    for found, order in made:
        inside = np.where(mask_of(within), order, np.nan)
        assert (cut_masks(GRAPH, inside, [size], "signed")[0] == found).all()
    return [{NAMES[index] for index in found.nonzero()[0]} for found, _ in made]


def test_lowest_member_gives_way_to_the_highest_other():
    # of the other edges only the direct one needs no second edge
    assert exchange(4, FIRST, ALL, [{Q: -5}], {DIRECT: 9}) == [{K, V, OUT, DIRECT}]
    assert exchange(4, FIRST, ALL, [{K: -5, V: -4}], {DIRECT: 9}) == [{Q, V, OUT, DIRECT}]


def test_head_whose_output_leaves_is_replaced_by_the_edges_that_rank_next():
    entering = {OUT1: 9, Q1: 8, DIRECT: 7, V1: 6, K1: 5}
    assert exchange(4, FIRST, ALL, [{OUT: -5}], entering) == [{OUT1, Q1, DIRECT, V1}]


def test_edges_come_from_within_and_complete_paths_have_at_most_as_many_edges_as_the_size():
    entering = {DIRECT: 9, OUT1: 8, Q1: 7}
    # the other head needs two edges: with three members left, they are one too many for 4
    assert exchange(4, FIRST, FIRST | SECOND, [{Q: -5}], entering) == [{K, V, OUT}]
    assert exchange(5, FIRST, FIRST | SECOND, [{Q: -5}], entering) == [{K, V, OUT, OUT1, Q1}]


def test_each_ranking_makes_a_circuit_and_equal_ones_come_once():
    leaving = [{Q: -5}, {V: -5}, {Q: -7, V: -6}]
    found = exchange(4, FIRST, ALL, leaving, {DIRECT: 9})
    assert found == [{K, V, OUT, DIRECT}, {Q, K, OUT, DIRECT}]


def test_circuit_itself_is_not_returned():
    assert exchange(4, FIRST, FIRST, [{Q: -5}, {OUT: -5}], {}) == []
    # with room for one edge more than there are members, none has to leave
    assert exchange(5, FIRST, FIRST | {DIRECT}, [{Q: -5}], {DIRECT: 9}) == [FIRST | {DIRECT}]
