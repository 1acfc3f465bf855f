"""What gradients and circuits cost, against the matrix products that torch counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from acdc_pipeline.algorithms.nested.circuit_tests import CircuitTests
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.graph.cut import cut_masks
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs.catalogue import find_task
from tests.scoring import problem_of
from tests.support import REPOSITORY

MODELS = ["gpt2-4l-s0", "neox-4l", "attn-2l"]


def products(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def bench_of(model: str, n: int) -> Bench:
    loaded = load_model(f"zoo:{model}", device="cpu")
    assert loaded.tokenizer is not None
    task = find_task("ioi" if model == "gpt2-4l-s0" else "induction", REPOSITORY)
    return set_up(loaded.weights, make_prompts(task, loaded.tokenizer, n=n, seed=0), "corrupted")


@pytest.mark.parametrize("model", MODELS)
def test_forwards_of_gradients_are_the_products_that_are_computed(model: str):
    bench = bench_of(model, n=12)  # more prompts than are differentiated at once
    tests = CircuitTests(problem_of(bench, "kl"))
    forward = products(lambda: set_up(bench.weights, bench.prompts, "corrupted")) / 2
    steps: list[Callable[[], object]] = [
        lambda: tests.along_path(2),
        lambda: tests.by_group((0.5,)),
        lambda: tests.integrated(np.ones(bench.weights.topology.n_edges, dtype=bool), (0.5,)),
    ]
    for step in steps:
        before, found = tests.spent, products(step) / forward
        counted = tests.spent - before
        assert 0.94 * counted < found < 1.01 * counted  # not too low, for budgets are kept to


@pytest.mark.parametrize("model", MODELS)
def test_forwards_of_circuits_are_the_products_that_are_computed(model: str):
    bench = bench_of(model, n=4)
    tests, topology = CircuitTests(problem_of(bench, "kl")), bench.weights.topology
    forward = products(lambda: set_up(bench.weights, bench.prompts, "corrupted")) / 2
    scores = np.random.default_rng(0).random(topology.n_edges)
    masks = cut_masks(
        topology, scores, [topology.n_edges // part for part in (2, 3, 5, 9)], "signed"
    )
    counted = tests.cost(masks)
    assert products(lambda: tests.test(masks)) / forward == pytest.approx(counted, rel=0.02)
    assert tests.spent == counted
    assert tests.cost(masks) == 0.0
