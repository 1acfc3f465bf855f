"""Bootstrap intervals over prompts: a plain loop, known coverage, and what has none."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from acdc_pipeline.evaluation import CurvePoint, circuit_model_distance, circuit_performance_ratio
from acdc_pipeline.evaluation.curve import area_intervals
from acdc_pipeline.evaluation.intervals import RESAMPLES, PromptScale, bootstrap_interval

FRACTIONS = (0.1, 0.2, 0.5, 1.0)


def curve(circuits: np.ndarray, whole: np.ndarray, nothing: np.ndarray) -> list[CurvePoint]:
    """The curve of four circuits on some of the prompts."""
    scale = whole.sum() - nothing.sum()
    return [
        CurvePoint(
            part, 1, 0.0, (of.sum() - nothing.sum()) / scale, 0.0, by_prompt=tuple(of.tolist())
        )
        for part, of in zip(FRACTIONS, circuits, strict=True)
    ]


def test_intervals_of_a_curve_are_those_of_a_plain_loop_over_resamples():
    rng, n = np.random.default_rng(5), 12
    whole, nothing = rng.normal(3, 1, n), rng.normal(0, 1, n)
    circuits = nothing + np.array([[0.2], [0.6], [1.1], [1.0]]) * (whole - nothing)
    circuits += rng.normal(0, 0.3, circuits.shape)
    points, seed = curve(circuits, whole, nothing), 7

    def of(prompts: list[int]) -> tuple[float, float, float]:
        found = curve(circuits[:, prompts], whole[prompts], nothing[prompts])
        areas = circuit_model_distance(found), circuit_performance_ratio(found)
        return (*areas, found[1].faithfulness)

    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    values = [of([p for p in range(n) for _ in range(counts[p])]) for counts in drawn]
    left_out = [of([p for p in range(n) if p != without]) for without in range(n)]
    normal, expected = NormalDist(), []
    for number, value in enumerate(of(list(range(n)))):
        resampled = sorted(one[number] for one in values)
        bias = normal.inv_cdf(sum(one < value for one in resampled) / RESAMPLES)
        mean = sum(one[number] for one in left_out) / n
        away = [mean - one[number] for one in left_out]
        skew = sum(d**3 for d in away) / (6 * sum(d**2 for d in away) ** 1.5)
        ends = []
        for z in (normal.inv_cdf(0.025), normal.inv_cdf(0.975)):
            share = normal.cdf(bias + (bias + z) / (1 - skew * (bias + z)))
            ends.append(float(np.quantile(resampled, share)))
        expected.append(tuple(ends))
    ends_of_scale = PromptScale(whole, nothing, seed)
    found = (*area_intervals(points, ends_of_scale), ends_of_scale.faithfulness(circuits[1]))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)
    # of values that nobody kept there is no interval
    assert area_intervals([CurvePoint(0.1, 1, 0.0, 0.5, 0.0)], ends_of_scale) == (None, None)


def test_interval_of_a_ratio_covers_the_truth_about_as_often_as_it_says():
    rng, hits, trials, n, truth = np.random.default_rng(0), 0, 300, 40, 0.7
    for seed in range(trials):
        whole, nothing = rng.exponential(1, n), np.zeros(n)
        circuit = truth * whole + rng.normal(0, 0.3, n)
        interval = PromptScale(whole, nothing, seed).faithfulness(circuit)
        assert interval is not None
        hits += interval[0] <= truth <= interval[1]
    # 95 % nominal; the bootstrap of 40 prompts is known to be a little short of it
    assert 0.90 <= hits / trials <= 0.98


def test_interval_of_few_or_equal_prompts():
    one = np.ones(1)
    assert PromptScale(one, 0 * one, 0).faithfulness(one) is None
    five = np.ones(5)
    assert PromptScale(five, 0 * five, 0).faithfulness(five / 2) == (0.5, 0.5)
    # the model is no better than the ablated one on some resamples: those are left out
    whole = np.array([0.0, 0.0, 1.0])
    low, high = PromptScale(whole, np.zeros(3), 0).faithfulness(whole / 4) or (0, 0)
    assert (low, high) == (0.25, 0.25)
    assert bootstrap_interval(lambda counts: np.full(len(counts), np.nan), 4, seed=0) is None


def test_interval_of_a_distance_is_corrected_for_its_bias():
    # faithful on average, noisy by prompt: the distance is larger on every resample
    rng, n = np.random.default_rng(1), 30
    noise = rng.normal(0, 1, n)
    circuit = 1 + noise - noise.mean()
    scale = PromptScale(np.ones(n), np.zeros(n), 0)
    both = np.array([circuit, circuit])
    interval = scale.model_distance([0.0, 1.0], both)
    assert interval is not None
    assert interval[0] < 0.01
