"""Searches that share decisions end as searches on their own do: the same steps, to the bit."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.algorithms import AcdcResult, Replay, acdc
from acdc_pipeline.algorithms.shared_decisions import ForkableSearch, SharedDecisions
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.search.subgraph_search import SubgraphSearch
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.graph.search_order import ThresholdRange
from acdc_pipeline.models import TransformerWeights
from acdc_pipeline.specs.names import Difference, MetricName
from tests import checkpoints, tiny_models
from tests.compiled_bench import compiled_bench
from tests.prompt_sets import random_prompts


def float32(name: str) -> TransformerWeights:
    """Weights in float32, where every change in the order of a sum shows."""
    return tiny_models.weights(name, "float32")


class Problem:
    """A model on prompts, searched at one threshold after the other."""

    def __init__(
        self,
        bench: Bench,
        metric: MetricName = "kl",
        difference: Difference = "signed",
        recompute_after: int = 256,
        room: int = 2**30,
    ) -> None:
        self.bench = bench
        self.metric: MetricName = metric
        self.difference: Difference = difference
        self.recompute_after = recompute_after
        self.shared = SharedDecisions(room)
        self.evaluated_alone = 0

    def start(self) -> ForkableSearch:
        search = self.bench.search(objective_for(self.bench, self.metric), memory=2**30)
        if isinstance(search, SubgraphSearch):
            search.recompute_after = self.recompute_after
        return search

    def alone(self, threshold: float) -> AcdcResult:
        search = self.start()
        with torch.no_grad():
            found = acdc(
                Replay(search, ()),
                self.bench.weights.topology,
                threshold=threshold,
                order="reverse-heads",
                difference=self.difference,
            )
        self.evaluated_alone += search.states_evaluated
        return found

    def together(self, threshold: float) -> AcdcResult:
        search = self.shared.search(threshold, self.difference, self.start)
        with torch.no_grad():
            found = acdc(
                search.replay,
                self.bench.weights.topology,
                threshold=threshold,
                order="reverse-heads",
                difference=self.difference,
                on_decision=search.record,
            )
        search.finish()
        return found


def assert_same(found: AcdcResult, alone: AcdcResult) -> None:
    assert found.decisions == alone.decisions
    assert found.circuit == alone.circuit
    assert found.circuit.scores == alone.circuit.scores
    assert found.smallest_margin == alone.smallest_margin


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(sorted(checkpoints.EVERY)),
    seed=st.integers(0, 100),
    thresholds=st.lists(st.floats(-9, -2).map(lambda x: 2**x), min_size=2, max_size=6),
    difference=st.sampled_from(["signed", "abs"]),
    metric=st.sampled_from(["kl", "logit_diff"]),
    recompute_after=st.integers(1, 60),
)
def test_searches_that_share_take_every_step_of_searches_alone(
    name: str,
    seed: int,
    thresholds: list[float],
    difference: Difference,
    metric: MetricName,
    recompute_after: int,
):
    prompts = random_prompts(3, 5, checkpoints.VOCAB, seed)
    bench = set_up(float32(name), prompts, "corrupted")
    problem = Problem(bench, metric, difference, recompute_after)
    for threshold in thresholds:
        assert_same(problem.together(threshold), problem.alone(threshold))
    assert problem.shared.states_evaluated <= problem.evaluated_alone


def test_search_at_a_threshold_of_the_same_decisions_evaluates_nothing():
    bench = set_up(float32("gpt2"), random_prompts(3, 5, checkpoints.VOCAB, 1), "corrupted")
    problem = Problem(bench)
    first = problem.together(0.01)
    same = ThresholdRange.of(first.decisions, "signed")
    evaluated = problem.shared.states_evaluated
    assert problem.together(same.high).decisions == first.decisions
    assert problem.shared.states_evaluated == evaluated
    assert problem.shared.replayed == len(first.decisions)


def test_search_at_a_near_threshold_begins_where_the_decisions_part():
    bench = set_up(float32("gpt2"), random_prompts(3, 5, checkpoints.VOCAB, 1), "corrupted")
    problem = Problem(bench)
    first = problem.together(0.01)
    next_ = ThresholdRange.of(first.decisions, "signed").high * (1 + 1e-9)
    second = problem.together(next_)
    assert_same(second, problem.alone(next_))
    pairs = zip(first.decisions, second.decisions, strict=False)
    common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    receiver = first.decisions[common].edge.receiver
    before = sum(decision.edge.receiver != receiver for decision in first.decisions[:common])
    assert problem.shared.replayed == before > 0


def test_searches_without_room_share_nothing_but_whole_logs():
    bench = set_up(float32("gpt2"), random_prompts(3, 5, checkpoints.VOCAB, 1), "corrupted")
    problem = Problem(bench, room=0)
    for threshold in (0.01, 0.0101, 0.0102, 0.02):
        assert_same(problem.together(threshold), problem.alone(threshold))


def test_threshold_range_holds_the_thresholds_that_take_the_same_decisions():
    problem = Problem(compiled_bench("compiled-or"))
    found = problem.alone(0.01)
    same = ThresholdRange.of(found.decisions, "signed")
    assert same.low < 0.01 <= same.high
    changes = [decision.effect for decision in found.decisions]
    assert same.high == min(change for change in changes if change >= 0.01)
    assert same.low == max(change for change in changes if change < 0.01)
    assert 0.01 in same
    assert same.high in same
    assert same.low not in same
    for other, equal in ((same.high, True), (same.high * 1.001, False)):
        steps = [(step.edge, step.removed) for step in problem.alone(other).decisions]
        assert (steps == [(step.edge, step.removed) for step in found.decisions]) is equal
