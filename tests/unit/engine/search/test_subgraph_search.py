"""The search's shortcuts never show: same values whatever is batched, cached or restricted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import cycle, repeat

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.algorithms import AcdcResult, acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.search.speculation import EdgePredictor, PlannedState, Speculation
from acdc_pipeline.engine.search.subgraph_search import SubgraphSearch
from acdc_pipeline.errors import GraphError, OutOfMemoryBudget
from acdc_pipeline.evaluation import circuit_logprobs, measure, objective_for
from acdc_pipeline.graph import LOGITS, Edge, Node, Receiver, mlp
from acdc_pipeline.graph.search_order import HeadOrder
from acdc_pipeline.prompts.prompt_set import PromptSet
from tests import checkpoints, tiny_models
from tests.decision_logs import assert_logged_as_measured
from tests.prompt_sets import random_prompts

GIB = 2**30


def _acdc(
    bench: Bench, threshold: float, memory: int = GIB, recompute_after: int | None = None
) -> AcdcResult:
    search = bench.search(objective_for(bench, "kl"), memory=memory)
    if isinstance(search, SubgraphSearch) and recompute_after is not None:
        search.recompute_after = recompute_after
    with torch.no_grad():
        return acdc(
            search,
            bench.weights.topology,
            threshold=threshold,
            order="natural",
            difference="abs",
        )


def _held(bench: Bench) -> int:
    return 3 * bench.ablated.nbytes


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(sorted(checkpoints.EVERY)),
    seed=st.integers(0, 100),
    lengths=st.lists(st.integers(2, 7), min_size=1, max_size=4),
    threshold=st.floats(0.001, 0.5),
    budget=st.integers(0, 200_000),
    recompute_after=st.integers(1, 100),
)
def test_acdc_any_lengths_and_budget_logs_what_fresh_forwards_measure(
    name: str,
    seed: int,
    lengths: list[int],
    threshold: float,
    budget: int,
    recompute_after: int,
):
    if tiny_models.weights(name).blocks[0].attention.direction == "bidirectional":
        lengths = [max(lengths)] * len(lengths)
    prompts = random_prompts(len(lengths), max(lengths), checkpoints.VOCAB, seed, lengths)
    bench = set_up(tiny_models.weights(name), prompts, "corrupted")
    result = _acdc(bench, threshold, _held(bench) + budget, recompute_after)
    assert_logged_as_measured(bench, result.decisions)


class _AnyWidth(Speculation):
    """Batches of whatever width is drawn next."""

    def __init__(self, widths: Iterator[int]) -> None:
        super().__init__(EdgePredictor(), 1, 0.0)
        self.widths = widths

    def plan(self, source: Node) -> list[PlannedState]:
        self.max_states, self.overhead = next(self.widths), math.inf
        return super().plan(source)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["gpt2", "neox", "llama", "qwen3", "native-ln", "gemma2", "olmo2"]),
    seed=st.integers(0, 100),
    threshold=st.floats(0.001, 0.5),
    widths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    order=st.sampled_from(["reverse-heads", "natural"]),
)
def test_acdc_any_width_of_batches_takes_the_same_decisions(
    name: str,
    seed: int,
    threshold: float,
    widths: list[int],
    order: HeadOrder,
):
    prompts = random_prompts(2, 5, checkpoints.VOCAB, seed)
    bench = set_up(tiny_models.weights(name), prompts, "corrupted")
    results = []
    for drawn in (cycle(widths), repeat(1)):
        search = bench.search(objective_for(bench, "kl"), memory=GIB)
        search.speculation = _AnyWidth(drawn)
        with torch.no_grad():
            results.append(
                acdc(
                    search,
                    bench.weights.topology,
                    threshold=threshold,
                    order=order,
                    difference="signed",
                )
            )
    wide, one_by_one = results
    assert [(d.edge, d.removed) for d in wide.decisions] == [
        (d.edge, d.removed) for d in one_by_one.decisions
    ]
    assert [d.metric_after for d in wide.decisions] == pytest.approx(
        [d.metric_after for d in one_by_one.decisions], abs=1e-12
    )


@pytest.mark.parametrize("name", ["neox", "gemma2", "olmo2"])
def test_acdc_several_answers_per_prompt_are_averaged(name: str):
    one = random_prompts(2, 6, checkpoints.VOCAB, seed=1)
    several = PromptSet(
        clean=one.clean,
        corrupted=one.corrupted,
        lengths=one.lengths,
        answer_row=torch.tensor([0, 0, 1, 1]),
        answer_pos=torch.tensor([2, 5, 3, 5]),
        correct=((1,),) * 4,
        incorrect=((2,),) * 4,
        clean_text=one.clean_text,
        corrupted_text=one.corrupted_text,
        template=one.template,
    )
    bench = set_up(tiny_models.weights(name), several, "corrupted")
    result = _acdc(bench, 0.05)
    present = bench.weights.topology.edge_set - {d.edge for d in result.decisions if d.removed}
    final = measure(bench, circuit_logprobs(bench, present), ["kl"])["kl"]
    last = result.decisions[-1]
    assert (last.metric_after if last.removed else last.metric_before) == pytest.approx(final)


@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_search_edge_of_another_receiver_is_refused(name: str):
    prompts = random_prompts(2, 5, checkpoints.VOCAB)
    bench = set_up(tiny_models.weights(name), prompts, "corrupted")
    search = bench.search(objective_for(bench, "kl"), memory=GIB)
    search.visit(Receiver(LOGITS), [mlp(1)])
    with pytest.raises(GraphError, match="being searched"):
        search.metric_without(Edge.parse("input->m0"))


@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_search_receiver_that_nothing_reads_is_refused(name: str):
    bench = set_up(tiny_models.weights(name), random_prompts(2, 5, checkpoints.VOCAB), "corrupted")
    search = bench.search(objective_for(bench, "kl"), memory=GIB)
    with pytest.raises(GraphError, match="m1"):
        search.visit(Receiver(mlp(1)), [])


def test_search_budget_below_one_set_of_activations_is_refused():
    bench = set_up(
        tiny_models.weights("gpt2"), random_prompts(2, 5, checkpoints.VOCAB), "corrupted"
    )
    with pytest.raises(OutOfMemoryBudget, match="2 prompts"):
        bench.search(objective_for(bench, "kl"), memory=_held(bench) - 1)
