"""The search in graphs with spans: unequal prompts, continued searches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.algorithms import AcdcResult, EdgeSearch, acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.search.positional_coupled import PositionalCoupledSearch
from acdc_pipeline.engine.search.positional_search import PositionalSearch
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.errors import GraphError
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.graph import Receiver
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.spans import spans_from_names, with_answers
from tests import checkpoints, tiny_models
from tests.decision_logs import assert_logged_as_measured
from tests.prompt_sets import random_prompts

FREE = ["gpt2", "neox", "llama", "native-ln"]
COUPLED = ["olmo2", "gemma2"]


def _prompts(seed: int, rows: list[list[str]]) -> PromptSet:
    lengths = [len(row) for row in rows]
    prompts = random_prompts(len(rows), max(lengths), checkpoints.VOCAB, seed, lengths)
    spans = spans_from_names(rows, max(lengths))
    return replace(prompts, spans=with_answers(spans, prompts.answer_row, prompts.answer_pos))


def _acdc(search: EdgeSearch, bench: Bench, threshold: float) -> AcdcResult:
    with torch.no_grad():
        return acdc(
            search,
            bench.weights.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
        )


# Spans that some prompts lack, of unequal sizes, answers in two of them.
ROWS = st.lists(st.lists(st.sampled_from("ab"), min_size=2, max_size=5), min_size=1, max_size=3)


@settings(max_examples=5)
@given(
    name=st.sampled_from(FREE + COUPLED),
    seed=st.integers(0, 100),
    rows=ROWS,
    threshold=st.floats(0.003, 0.3),
    budget=st.integers(0, 200_000),
)
def test_acdc_with_spans_logs_what_fresh_forwards_measure(
    name: str, seed: int, rows: list[list[str]], threshold: float, budget: int
):
    bench = set_up(tiny_models.weights(name, layers=2), _prompts(seed, rows), "corrupted")
    search = bench.search(objective_for(bench, "kl"), memory=3 * bench.ablated.nbytes + budget)
    expected = PositionalCoupledSearch if name in COUPLED else PositionalSearch
    assert isinstance(search, expected) == (len(bench.weights.topology.spans) > 1)
    assert_logged_as_measured(bench, _acdc(search, bench, threshold).decisions)


@pytest.mark.parametrize("name", ["gpt2", "olmo2"])
def test_search_goes_on_from_its_decisions_with_the_same_bits(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(PositionalSearch, "recompute_after", 20)
    rows = [["a", "b", "a", "b"], ["a", "b", "b"]]
    bench = set_up(tiny_models.weights(name, layers=2), _prompts(3, rows), "corrupted")
    objective = objective_for(bench, "kl")

    def start() -> Search[Any]:
        return bench.search(objective, memory=2**30)

    found = _acdc(start(), bench, 0.02)
    points: list[int] = []
    with torch.no_grad():
        acdc(
            start(),
            bench.weights.topology,
            threshold=0.02,
            order="reverse-heads",
            difference="signed",
            on_resumable=lambda decisions: points.append(len(decisions)),
        )
        from acdc_pipeline.algorithms.replay import Replay

        for count in {points[len(points) // 2], points[-1]}:
            again = _acdc(Replay(start(), found.decisions[:count]), bench, 0.02)
            assert again.decisions == found.decisions


def test_receiver_whose_outputs_are_dead_is_refused():
    bench = set_up(
        tiny_models.weights("gpt2", layers=2), _prompts(3, [["a", "b"], ["a", "b"]]), "corrupted"
    )
    search = bench.search(objective_for(bench, "kl"), memory=2**30)
    with torch.no_grad(), pytest.raises(GraphError, match="dead"):
        search.visit(Receiver.parse("m1@a"), [])
