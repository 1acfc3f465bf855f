"""Exact effects prompt by prompt, in parts, beside the method and its resamples."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.engine.resample import take_rows, weigh_repeats
from acdc_pipeline.evaluation import mean_pairwise_jaccard
from acdc_pipeline.models import load_model
from benchmarks.exact_scores import BY, measure_effects
from benchmarks.method_cells import bench_of
from benchmarks.methods_table import (
    Cell,
    Settings,
    draw_prompts,
    from_effects,
    measure_stability,
    search,
    search_all,
)

CELL = Cell("zoo", "induction", "attn-2l")


def test_effects_of_two_parts_are_what_the_method_and_its_resamples_find(tmp_path: Path):
    bench = bench_of(load_model("zoo:attn-2l", device="cpu"), CELL.task, 4, 0)
    assert measure_effects(bench, tmp_path, 1, 2) is None
    first = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    effects = measure_effects(bench, tmp_path, 2, 2)
    assert effects is not None
    assert {file: file.stat().st_mtime_ns for file in first} == first

    found = from_effects(CELL, bench, effects, seed=0)
    expected = search_all("exact", CELL, bench, seed=0)
    for metric in BY:
        ours, theirs = (kind.by[metric][0].circuit for kind in (found, expected))
        assert ours.edges == theirs.edges
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-6)
    # Each part projects the clean streams anew.
    assert expected.forwards < found.forwards < expected.forwards + 1
    assert set(effects.seconds) == set(BY)

    settings = Settings(prompts=4, seed=0, resamples=2)
    drawn = [draw_prompts(bench, 0, number) for number in range(2)]
    parts = [weigh_repeats(some, lambda numbers: take_rows(bench, numbers)) for some in drawn]
    circuits = [search("exact", CELL, part, "logit_diff", 0).circuit for part in parts]
    for some, circuit in zip(drawn, circuits, strict=True):
        assert effects.scores("logit_diff", some) == pytest.approx(circuit.scores, abs=1e-6)
    by_effects = measure_stability("exact", CELL, bench, settings, effects)
    assert by_effects == mean_pairwise_jaccard(circuits)
