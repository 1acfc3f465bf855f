"""Which sizes are tried, against every size."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.cli.commands.discover import DEFAULT_THRESHOLD
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.workflows.size_search import (
    START,
    bisect_sizes,
    check_target,
    grid_index,
    grid_threshold,
    size_grid,
    smallest_size,
)


def test_thresholds_of_the_grid_differ_by_a_tenth_and_have_three_digits():
    thresholds = [grid_threshold(index) for index in range(-168, 49)]
    assert thresholds[0] == 1e-7
    assert thresholds[-1] == 100
    # 10^(1/24) = 1.1007; three digits are exact to 0.5 %
    assert all(1.09 < b / a < 1.112 for a, b in pairwise(thresholds))
    assert all(float(f"{threshold:.3g}") == threshold for threshold in thresholds)


def test_search_begins_at_the_default_of_the_command_line_which_is_on_the_grid():
    assert grid_threshold(grid_index(START)) == START == DEFAULT_THRESHOLD


@given(st.integers(-160, 50), st.floats(1, 1.0899))
def test_index_is_that_of_the_largest_threshold_not_above(index: int, factor: float):
    assert grid_index(grid_threshold(index) * factor) == index


@given(st.integers(1, 5000))
def test_sizes_of_the_grid_grow_by_a_quarter_or_one_edge_up_to_the_whole_graph(n_edges: int):
    sizes = size_grid(n_edges)
    assert (sizes[0], sizes[-1]) == (1, n_edges)
    for a, b in list(pairwise(sizes))[:-1]:
        assert b == max(a + 1, -(-5 * a // 4))


@given(
    enough=st.lists(st.booleans(), min_size=1, max_size=80),
    data=st.data(),
    step=st.integers(1, 12),
)
def test_bisection_ends_between_an_index_that_reaches_and_one_that_does_not(
    enough: list[bool], data: st.DataObject, step: int
):
    start = data.draw(st.integers(0, len(enough) - 1))
    asked: list[int] = []

    def reaches(index: int) -> bool:
        asked.append(index)
        return enough[index]

    last = len(enough) - 1
    found = bisect_sizes(reaches, start, 0, last, step)
    if found is None:
        assert not any(enough[index] for index in asked)
        assert 0 in asked
    else:
        assert enough[found]
        assert found == last or not enough[found + 1]
    assert len(asked) == len(set(asked))


@given(limit=st.integers(-1, 200), start=st.integers(0, 200))
def test_bisection_of_what_only_falls_finds_the_last_index_that_reaches(limit: int, start: int):
    asked: list[int] = []

    def reaches(index: int) -> bool:
        asked.append(index)
        return index <= limit

    assert bisect_sizes(reaches, start, 0, 200) == (limit if limit >= 0 else None)
    # the start, up to 12 + 8 · 24 indices away, and five halvings of 24
    assert len(asked) <= 1 + 9 + 5


def first_on_the_grid_then_smallest_between(enough: dict[int, bool], n_edges: int) -> int | None:
    """What is documented, with every size measured."""
    before = 0
    for size in size_grid(n_edges):
        if enough[size]:
            return min(n for n in range(before + 1, size + 1) if enough[n])
        before = size
    return None


@given(st.lists(st.booleans(), min_size=1, max_size=85))
def test_smallest_size_of_a_small_graph_is_the_smallest_after_the_last_grid_size_below(
    enough: list[bool],
):
    by_size = dict(enumerate(enough, start=1))
    found = smallest_size(lambda sizes: [by_size[size] for size in sizes], len(enough))
    assert found == first_on_the_grid_then_smallest_between(by_size, len(enough))


@given(n_edges=st.integers(1, 100_000), data=st.data())
def test_smallest_size_of_what_only_grows_is_the_smallest_of_all(n_edges: int, data: st.DataObject):
    limit = data.draw(st.integers(1, n_edges + 1))
    asked: list[int] = []

    def reaching(sizes: list[int]) -> list[bool]:
        assert len(sizes) <= 16
        asked.extend(sizes)
        return [size >= limit for size in sizes]

    assert smallest_size(reaching, n_edges) == (limit if limit <= n_edges else None)
    assert len(asked) == len(set(asked)) <= 64 + 4 * 16


@pytest.mark.parametrize("target", [0.0, -1.0, 1.01, float("nan"), float("inf")])
def test_target_that_is_no_faithfulness_is_refused(target: float):
    with pytest.raises(InvalidInput, match="is not a faithfulness to reach") as raised:
        check_target(target, {})
    assert raised.value.field == "faithful"


@pytest.mark.parametrize("size", ["threshold", "share", "edges"])
def test_target_beside_a_size_is_refused(size: str):
    check_target(0.9, {size: None, "steps": 3})
    with pytest.raises(InvalidInput, match=f"cannot go with --{size}"):
        check_target(0.9, {size: 0.1}, "--{}".format)
