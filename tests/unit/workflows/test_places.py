"""Places of searches by CMD: ties where intervals overlap, each set of prompts by itself."""

from __future__ import annotations

from typing import Any

from acdc_pipeline.store.record import RunSummary
from acdc_pipeline.workflows.search_areas import SearchAreas, by_distance, places
from tests import records


def search(cmd: float | None, interval: Any = None, seed: int = 0) -> SearchAreas:
    spec = records.spec(seed)
    summary = RunSummary(
        run_id=spec.run_id(),
        spec=spec,
        edges_kept=3,
        edges_total=9,
        metrics={},
        wall_seconds=1.0,
        parity_error=None,
        code_version="1",
    )
    return SearchAreas((summary,), "kl", cmd=cmd, cmd_interval=interval)


def test_searches_share_a_place_where_their_intervals_overlap():
    best, close = search(0.05, (0.04, 0.06)), search(0.06, (0.055, 0.07))
    worse, unknown = search(0.08, (0.065, 0.10)), search(None)
    assert places([worse, unknown, close, best]) == [2, None, 1, 1]
    # without an interval, the number itself
    assert places([search(0.05), search(0.06), search(0.06)]) == [1, 2, 2]


def test_places_are_among_searches_on_the_same_prompts():
    assert places([search(0.5), search(0.1, seed=1)]) == [1, 1]


def test_smallest_distance_comes_first_and_unknown_ones_last():
    found = by_distance([search(None), search(0.3), search(0.1)])
    assert [one.cmd for one in found] == [0.1, 0.3, None]
