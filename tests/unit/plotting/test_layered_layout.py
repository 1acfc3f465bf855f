from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.graph import INPUT, LOGITS, head
from acdc_pipeline.plotting.layered_layout import LayoutEdge, layered_layout, separate

NUMBERS = st.floats(-100, 100)


@given(st.lists(st.tuples(NUMBERS, st.floats(0.1, 10)), min_size=1, max_size=6), st.data())
def test_separate_keeps_the_steps_and_is_nearer_than_anything_close_by(
    points: list[tuple[float, float]], data: st.DataObject
):
    targets, weights = [w for w, _ in points], [w for _, w in points]
    n = len(points) - 1
    steps = data.draw(st.lists(st.floats(0, 20), min_size=n, max_size=n))
    found = separate(targets, weights, steps)

    def cost(places: list[float]) -> float:
        squares = ((x - w) ** 2 * h for x, w, h in zip(places, targets, weights, strict=True))
        return sum(squares)

    gaps = [b - a for a, b in itertools.pairwise(found)]
    # A rounding error of sums around 100 is all that may be missing.
    assert all(gap >= step - 1e-9 for gap, step in zip(gaps, steps, strict=True))
    # The problem is convex: no feasible direction that moves neighbours together may be better.
    for first, last in itertools.combinations(range(n + 2), 2):
        for by in (-1e-3, 1e-3):
            moved = [x + by * (first <= i < last) for i, x in enumerate(found)]
            pairs = zip(itertools.pairwise(moved), steps, strict=True)
            if all(b - a >= step for (a, b), step in pairs):
                assert cost(moved) >= cost(found) - 1e-6


def test_separate_with_room_for_all_changes_nothing():
    assert separate([0.0, 5.0, 9.0], [1.0, 1.0, 1.0], [2.0, 3.0]) == [0.0, 5.0, 9.0]


def test_separate_pushes_both_sides_by_their_weight():
    # 4 apart around their common wish at 0, the one three times as heavy moves a third as far.
    assert separate([0.0, 0.0], [3.0, 1.0], [4.0]) == [-1.0, 3.0]


def test_separate_stays_between_its_bounds():
    assert separate([-50.0, 0.0, 80.0], [1.0] * 3, [5.0, 5.0], low=-10.0, high=10.0) == [
        -10.0,
        0.0,
        10.0,
    ]


def test_layout_uncrosses_what_can_be_uncrossed():
    below, above = [head(0, 0), head(0, 1), head(0, 2)], [head(1, 0), head(1, 1), head(1, 2)]
    rows = [[INPUT], below, above, [LOGITS]]
    # Drawn in the rows' own order these cross three times.
    edges = [LayoutEdge(a, b) for a, b in zip(below, reversed(above), strict=True)]
    edges += [LayoutEdge(INPUT, a) for a in below] + [LayoutEdge(b, LOGITS) for b in above]
    widths = dict.fromkeys([INPUT, *below, *above, LOGITS], 40.0)
    x = layered_layout(rows, edges, widths=widths, gap=10.0, bend_gap=5.0).x
    lower = sorted(below, key=x.__getitem__)
    upper = sorted(above, key=x.__getitem__)
    partner = dict(zip(below, reversed(above), strict=True))
    assert [partner[node] for node in lower] == upper


def test_layout_lets_a_lone_long_edge_run_straight():
    rows = [[INPUT], [head(0, 0)], [head(1, 0)], [LOGITS]]
    edges = [
        LayoutEdge(INPUT, LOGITS),
        LayoutEdge(INPUT, head(0, 0)),
        LayoutEdge(head(0, 0), head(1, 0)),
        LayoutEdge(head(1, 0), LOGITS),
    ]
    widths = {INPUT: 80.0, head(0, 0): 40.0, head(1, 0): 40.0, LOGITS: 80.0}
    layout = layered_layout(rows, edges, widths=widths, gap=10.0, bend_gap=6.0)
    first, second = layout.bends[0]
    assert first == pytest.approx(second, abs=0.5)
    assert [len(bends) for bends in layout.bends] == [2, 0, 0, 0]
    # Beside the heads: half a head, half the gap, half the room of the edge.
    assert abs(first - layout.x[head(0, 0)]) >= 20 + 5 + 3 - 1e-9
