"""Nests of circuits: the best of all, by brute force, and the weights of their sizes."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from acdc_pipeline.algorithms.nested import circuit_tests
from acdc_pipeline.algorithms.nested.nests import Nests, weigh_sizes


def measured(mask: circuit_tests.Mask, loss: float) -> circuit_tests.Tested:
    return circuit_tests.Tested(mask, value=loss, loss=loss, final=torch.empty(0, 1))


@pytest.mark.parametrize("seed", range(20))
def test_best_nest_is_that_of_least_area_by_brute_force(seed: int):
    rng = np.random.default_rng(seed)
    weights = [0.5, 0.3, 0.2]
    nests, every = Nests(weights), []
    for at, keep in enumerate([0.7, 0.45, 0.25]):
        masks = np.unique(rng.random((6, 6)) < keep, axis=0)
        every.append(
            [measured(mask, loss) for mask, loss in zip(masks, rng.random(6), strict=False)]
        )
        for one in every[-1]:
            nests.add(at, one, np.zeros(6))
    areas = {
        tuple(id(one) for one in nest): nests.area([one.loss for one in nest])
        for nest in product(*every)
        if all((inner.mask <= outer.mask).all() for outer, inner in pairwise(nest))
    }
    found = [one.tested for one in nests.best()]
    assert areas[tuple(id(one) for one in found)] == pytest.approx(min(areas.values()))
    within = every[0][0].mask
    for at, of_size in enumerate(every):
        inside = [one for one in of_size if (one.mask <= within).all()]
        assert [one.tested for one in nests.candidates(at, within)] == inside


def test_without_a_nest_of_all_sizes_none_is_best():
    nests = Nests([0.5, 0.5])
    nests.add(0, measured(np.array([True, True, False]), 0.1), np.zeros(3))
    assert nests.best() == ()
    nests.add(1, measured(np.array([False, False, True]), 0.1), np.zeros(3))
    assert nests.best() == ()


def test_of_equal_nests_that_of_the_circuit_added_last_is_best():
    """Losses that differ by less than 1e-7 of the largest are equal; adding again counts."""
    first, second = np.array([True, True, False]), np.array([False, True, True])
    largest = measured(np.ones(3, dtype=bool), 4.0)
    for lower, higher in ((0, 1), (1, 0)):
        nests = Nests([0.5, 0.5])
        nests.add(0, largest, np.zeros(3))
        circuits = [
            measured(mask, 1 + 2e-7 * step)
            for mask, step in zip((first, second), (lower, higher), strict=True)
        ]
        for again in (0, 1, 0):
            order = np.arange(3.0) + again
            nests.add(1, circuits[again], order)
            best = nests.best()[-1]
            assert best.tested is circuits[again]
            assert best.order is order, "of equal circuits the last is kept"
    assert len(nests.candidates(1, largest.mask)) == 2
    better = measured(np.array([True, False, True]), 1 - 2e-6)
    nests.add(1, better, np.zeros(3))
    nests.add(1, circuits[1], np.zeros(3))
    assert nests.best()[-1].tested is better


@pytest.mark.parametrize("sizes", [(50, 20, 10), (1,)])
def test_weights_give_the_trapezoidal_sum_from_no_edges_to_all(sizes: tuple[int, ...]):
    losses = np.linspace(0.2, 0.9, len(sizes))
    area = Nests(weigh_sizes(sizes, 100)).area(losses.tolist())
    ends = np.trapezoid([0.0, *losses, 0.0], [-100, *(-size for size in sizes), 0]) / 100
    assert area == pytest.approx(ends)
