"""The search that computes every later layer anew: right where heads couple, and where not."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.algorithms import AcdcResult, EdgeSearch, acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.search.coupled_search import CoupledSearch
from acdc_pipeline.evaluation import circuit_logprobs, measure, objective_for
from acdc_pipeline.models import LoadedModel, load_model
from tests import checkpoints
from tests.prompt_sets import random_prompts

COUPLED = ["olmo2", "olmo3", "gemma2", "gemma3"]
FREE = ["gpt2", "neox", "gptj", "llama", "mistral", "native-ln"]


@pytest.fixture(scope="module")
def models() -> dict[str, LoadedModel]:
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: load_model(
                f"dir:{checkpoints.EVERY[name](Path(folder) / name, layers=3)}",
                dtype="float64",
                device="cpu",
            )
            for name in (*COUPLED, *FREE)
        }


def _acdc(search: EdgeSearch, bench: Bench, threshold: float) -> AcdcResult:
    with torch.no_grad():
        return acdc(
            search,
            bench.weights.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
        )


@settings(max_examples=12)
@given(
    name=st.sampled_from(COUPLED),
    seed=st.integers(0, 100),
    lengths=st.lists(st.integers(2, 7), min_size=1, max_size=3),
    threshold=st.floats(0.003, 0.3),
    budget=st.integers(0, 100_000),
)
def test_acdc_coupled_heads_log_what_fresh_forwards_measure(
    models: dict[str, LoadedModel],
    name: str,
    seed: int,
    lengths: list[int],
    threshold: float,
    budget: int,
):
    prompts = random_prompts(len(lengths), max(lengths), checkpoints.VOCAB, seed, lengths)
    bench = set_up(models[name].weights, prompts, "corrupted")
    search = bench.search(objective_for(bench, "kl"), memory=3 * bench.ablated.nbytes + budget)
    assert isinstance(search, CoupledSearch)
    result = _acdc(search, bench, threshold)
    present = set(bench.weights.topology.edge_set)
    for decision in result.decisions:
        # A fresh forward is slow; every fifth decision tells enough about those between.
        if decision.step % 5 == 0:
            fresh = measure(bench, circuit_logprobs(bench, present - {decision.edge}), ["kl"])
            assert decision.metric_after == pytest.approx(fresh["kl"], abs=1e-12)
        if decision.removed:
            present.discard(decision.edge)


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("threshold", [0.01, 0.1])
def test_acdc_free_heads_decides_as_the_search_along_present_edges(
    models: dict[str, LoadedModel], name: str, threshold: float
):
    prompts = random_prompts(3, 6, checkpoints.VOCAB, seed=2, lengths=[6, 4, 5])
    bench = set_up(models[name].weights, prompts, "corrupted")
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
