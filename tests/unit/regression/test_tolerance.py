"""Limits follow from how far other samples of prompts are."""

from __future__ import annotations

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.regression.finding import Tolerance, floor, measure_tolerance
from acdc_pipeline.specs import parse
from tests.regressions import EDGES, finding


def test_tolerance_limit_is_the_furthest_of_the_other_samples():
    others = {seed: finding(kl=0.5 + 0.1 * seed) for seed in range(1, 6)}
    found = measure_tolerance(finding(), others)
    assert found.seeds == (1, 2, 3, 4, 5)
    assert found.measured["kl"] == pytest.approx((0.1, 0.2, 0.3, 0.4, 0.5))
    assert found.limits["kl"] == pytest.approx(0.5)


def test_tolerance_of_equal_samples_leaves_room_for_one_edge_exchanged():
    limits = measure_tolerance(finding(), {seed: finding() for seed in range(5)}).limits
    # of five edges one goes and one comes: 4 of 6 are shared; of two heads one comes: 2 of 3
    assert limits["edges"] == pytest.approx(2 / 6)
    assert limits["heads"] == pytest.approx(1 / 3)
    assert limits["size"] == 1
    assert limits["kl"] == 1e-3


def test_floor_of_a_large_metric_is_relative():
    assert floor("kl", finding(kl=-40.0)) == pytest.approx(0.04)


def test_tolerance_statistic_that_a_sample_lacks_is_measured_on_the_others():
    others = {1: finding(EDGES[:2]), **{seed: finding() for seed in range(2, 6)}}
    found = measure_tolerance(finding(), others)
    assert found.measured["ranking"] == (None, 0, 0, 0, 0)


def test_tolerance_of_four_seeds_is_refused():
    with pytest.raises(SpecError, match="seeds"):
        parse({"seeds": [1, 2, 3, 4], "measured": {}, "limits": {}}, Tolerance, "x.json")
