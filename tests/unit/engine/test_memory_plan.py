"""The memory plan: a bound on what is measured, and a budget that is kept."""

from __future__ import annotations

import pytest
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.memory_plan import MemoryPlan, ModelShape
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.graph import Topology
from tests import checkpoints, tiny_models
from tests.memory_meter import MemoryMeter
from tests.prompt_sets import random_prompts


def _peak(bench: Bench, threshold: float, memory: int) -> int:
    """The most bytes alive in a search beyond those of its bench."""
    with torch.no_grad(), MemoryMeter() as meter:
        acdc(
            bench.search(objective_for(bench, "kl"), memory=memory),
            bench.weights.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
        )
    return meter.peak


def test_meter_counts_what_is_alive_and_no_more():
    with MemoryMeter() as meter:
        a = torch.zeros(1000)
        view = a.view(10, 100)
        del a
        for _ in range(5):
            torch.zeros(500)
        del view
        torch.zeros(1200)
    assert meter.peak == 4 * 1500
    assert meter.live == 0


@pytest.mark.parametrize("name", ["gpt2", "llama", "native-ln"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 2.0])
def test_search_stays_inside_its_budget(name: str, share: float):
    weights = tiny_models.weights(name, "float32", layers=3)
    bench = set_up(weights, random_prompts(24, 10, checkpoints.VOCAB), "corrupted")
    plan = bench.memory_plan()
    budget = plan.most + int(share * plan.sources)
    # Every edge that matters at all stays, so that every receiver is visited. A bench holds the
    # clean and the ablated outputs, two thirds of the plan's sources, before the search begins.
    peak = _peak(bench, threshold=1e-7, memory=budget) + 2 * plan.sources // 3
    assert peak <= budget
    assert peak >= 0.4 * plan.most


def test_plan_one_layer_by_hand():
    # Sources input, two heads, an MLP; receivers q, k, v of each head, the MLP, the logits.
    shape = ModelShape(Topology(1, 2, has_mlp=True), d_model=8, d_head=4, d_mlp=32, vocab=50)
    plan = MemoryPlan(shape, prompts=3, tokens=5, answers=3, itemsize=4)
    stream = 3 * 5 * 8 * 4
    assert plan.sources == 3 * 4 * stream
    # q, k, v and z of 4 numbers and 5 attention weights for each row of either head.
    heads = 2 * 3 * 5 * (4 * 4 + 5) * 4
    assert plan.receivers == (8 + 1) * stream + heads
