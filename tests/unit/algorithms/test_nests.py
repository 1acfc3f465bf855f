"""Nests of circuits: the best of all, by brute force, and the weights of their sizes."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from acdc_pipeline.algorithms import circuit_tests
from acdc_pipeline.algorithms.nests import Nests, weigh_sizes


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
    if not areas:
        assert not found
    else:
        assert areas[tuple(id(one) for one in found)] == pytest.approx(min(areas.values()))


@pytest.mark.parametrize("sizes", [(50, 20, 10), (1,)])
def test_weights_give_the_trapezoidal_sum_from_no_edges_to_all(sizes: tuple[int, ...]):
    losses = np.linspace(0.2, 0.9, len(sizes))
    area = Nests(weigh_sizes(sizes, 100)).area(losses.tolist())
    ends = np.trapezoid([0.0, *losses, 0.0], [-100, *(-size for size in sizes), 0]) / 100
    assert area == pytest.approx(ends)
