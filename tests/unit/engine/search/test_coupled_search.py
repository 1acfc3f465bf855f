"""The search that computes every later layer anew: right where heads couple, and where not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.algorithms import AcdcResult, EdgeSearch, acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.search.coupled_search import CoupledSearch
from acdc_pipeline.evaluation import objective_for
from tests import checkpoints, tiny_models
from tests.decision_logs import assert_logged_as_measured
from tests.prompt_sets import random_prompts

COUPLED = ["olmo2", "olmo3", "gemma2", "gemma3"]
FREE = ["gpt2", "neox", "gptj", "llama", "mistral", "native-ln"]


def _acdc(search: EdgeSearch, bench: Bench, threshold: float) -> AcdcResult:
    with torch.no_grad():
        return acdc(
            search,
            bench.weights.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
        )


@settings(max_examples=5)
@given(
    name=st.sampled_from(COUPLED),
    seed=st.integers(0, 100),
    lengths=st.lists(st.integers(2, 7), min_size=1, max_size=3),
    threshold=st.floats(0.003, 0.3),
    budget=st.integers(0, 100_000),
)
def test_acdc_coupled_heads_log_what_fresh_forwards_measure(
    name: str,
    seed: int,
    lengths: list[int],
    threshold: float,
    budget: int,
):
    prompts = random_prompts(len(lengths), max(lengths), checkpoints.VOCAB, seed, lengths)
    bench = set_up(tiny_models.weights(name, layers=3), prompts, "corrupted")
    search = bench.search(objective_for(bench, "kl"), memory=3 * bench.ablated.nbytes + budget)
    assert isinstance(search, CoupledSearch)
    result = _acdc(search, bench, threshold)
    assert_logged_as_measured(bench, result.decisions)


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("threshold", [0.01, 0.1])
def test_acdc_free_heads_decides_as_the_search_along_present_edges(name: str, threshold: float):
    prompts = random_prompts(3, 6, checkpoints.VOCAB, seed=2, lengths=[6, 4, 5])
    bench = set_up(tiny_models.weights(name, layers=3), prompts, "corrupted")
    objective = objective_for(bench, "kl")
    whole = CoupledSearch(bench.weights, bench.clean, bench.ablated, bench.layout, objective, 2**30)
    ours = _acdc(whole, bench, threshold)
    theirs = _acdc(bench.search(objective, memory=2**30), bench, threshold)
    assert [(d.edge, d.removed) for d in ours.decisions] == [
        (d.edge, d.removed) for d in theirs.decisions
    ]
    assert [d.metric_after for d in ours.decisions] == pytest.approx(
        [d.metric_after for d in theirs.decisions], abs=1e-12
    )
