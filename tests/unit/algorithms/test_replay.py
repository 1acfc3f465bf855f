"""A search that was interrupted ends as if it had not been: the same decisions, to the bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.algorithms import AcdcResult, Replay, acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.search.subgraph_search import SubgraphSearch
from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.graph import Decision
from acdc_pipeline.models import TransformerWeights
from tests import checkpoints, tiny_models
from tests.prompt_sets import random_prompts


def float32(name: str) -> TransformerWeights:
    """Weights in float32, where every change in the order of a sum shows."""
    return tiny_models.weights(name, "float32")


def _search(
    bench: Bench, threshold: float, recompute_after: int, log: tuple[Decision, ...] = ()
) -> tuple[AcdcResult, list[tuple[Decision, ...]]]:
    search = bench.search(objective_for(bench, "kl"), memory=2**30)
    if isinstance(search, SubgraphSearch):
        search.recompute_after = recompute_after
    resumable: list[tuple[Decision, ...]] = []
    with torch.no_grad():
        result = acdc(
            Replay(search, log),
            bench.weights.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
            on_resumable=resumable.append,
        )
    return result, resumable


@settings(max_examples=24, deadline=None)
@given(
    name=st.sampled_from(sorted(checkpoints.EVERY)),
    seed=st.integers(0, 100),
    threshold=st.floats(1e-4, 0.1),
    recompute_after=st.integers(1, 30),
    data=st.data(),
)
def test_acdc_interrupted_anywhere_ends_in_the_same_bits(
    name: str,
    seed: int,
    threshold: float,
    recompute_after: int,
    data: st.DataObject,
):
    prompts = random_prompts(3, 5, checkpoints.VOCAB, seed)
    bench = set_up(float32(name), prompts, "corrupted")
    whole, resumable = _search(bench, threshold, recompute_after)
    if not resumable:
        return
    log = data.draw(st.sampled_from(resumable))
    again, _ = _search(bench, threshold, recompute_after, log)
    assert again.decisions == whole.decisions
    assert again.circuit == whole.circuit
    assert again.smallest_margin == whole.smallest_margin


def test_acdc_resumed_search_offers_the_same_places_to_resume_from():
    bench = set_up(float32("gpt2"), random_prompts(3, 5, checkpoints.VOCAB, 1), "corrupted")
    _, resumable = _search(bench, 1e-4, 5)
    first, *later = resumable
    assert len(later) >= 2
    assert _search(bench, 1e-4, 5, first)[1] == resumable


def test_replay_log_of_another_search_is_refused():
    bench = set_up(float32("gpt2"), random_prompts(3, 5, checkpoints.VOCAB, 1), "corrupted")
    _, resumable = _search(bench, 1e-4, 5)
    with pytest.raises(ExecutionFailed, match="does not belong"):
        _search(bench, 1e-4, 5, resumable[-1][1:])
