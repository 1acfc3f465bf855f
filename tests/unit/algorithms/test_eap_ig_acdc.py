"""ACDC on a screen: with all edges in it, ACDC; with some, what fresh forwards measure."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import pytest
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.algorithms.eap import eap_ig_inputs
from acdc_pipeline.algorithms.eap_ig_acdc import ScreenedResult, eap_ig_acdc, screen
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import circuit_logprobs, measure, objective_for
from acdc_pipeline.graph import LOGITS, Circuit
from acdc_pipeline.graph.search_order import receivers_backwards
from acdc_pipeline.specs import EapIgAcdcMethod
from tests import checkpoints, tiny_models
from tests.prompt_sets import random_prompts
from tests.scoring import problem_of

PROMPTS = random_prompts(3, 6, checkpoints.VOCAB, seed=5)
# One that follows changes along present edges, one whose heads move one another, parallel blocks.
NAMES = ["gpt2", "gemma2", "gptj"]
METHOD = EapIgAcdcMethod(
    name="eap-ig-acdc",
    threshold=0.05,
    metric="kl",
    ablation="corrupted",
    order="reverse-heads",
    difference="signed",
    steps=2,
    screen=1.0,
)


@pytest.fixture(params=NAMES)
def bench(request: pytest.FixtureRequest) -> Bench:
    return set_up(tiny_models.weights(request.param), PROMPTS, "corrupted")


def screened_by(bench: Bench, method: EapIgAcdcMethod) -> Circuit:
    problem = problem_of(bench, "kl")
    scores = partial(eap_ig_inputs, problem)
    return screen(bench.weights.topology, scores, method)


def searched(bench: Bench, screened: Circuit, **changes: Any) -> ScreenedResult:
    search = bench.search(objective_for(bench, "kl"), memory=2**30)
    with torch.no_grad():
        return eap_ig_acdc(search, screened, METHOD.model_copy(update=changes))


def test_screen_that_leaves_out_nothing_is_acdc(bench: Bench):
    screened = screened_by(bench, METHOD)
    assert screened.edges == bench.weights.topology.edge_set
    with torch.no_grad():
        whole = acdc(
            bench.search(objective_for(bench, "kl"), memory=2**30),
            bench.weights.topology,
            threshold=METHOD.threshold,
            order=METHOD.order,
            difference=METHOD.difference,
        )
    assert searched(bench, screened).acdc == whole


@pytest.mark.parametrize("seed", range(3))
def test_screened_search_logs_what_fresh_forwards_measure(bench: Bench, seed: int):
    draw = Random(seed)
    topology = bench.weights.topology
    some = [e for e in topology.edges if draw.random() < 0.4 or e.dst == LOGITS]
    result = searched(bench, Circuit.of(topology, some))
    assert {decision.edge for decision in result.acdc.decisions} <= set(some)
    present = set(topology.edges)
    receiver = None
    for decision in result.acdc.decisions:
        if decision.edge.receiver != receiver:
            receiver = decision.edge.receiver
            # Receivers without a candidate were visited on the way, if anything reads their node.
            gone = {edge for edge in result.dropped if edge in present}
            present -= {edge for edge in gone if _comes_before(bench, edge.receiver, receiver)}
        fresh = _kl(bench, present - {decision.edge})
        assert decision.metric_after == pytest.approx(fresh, rel=1e-9, abs=1e-12)
        if decision.removed:
            present.remove(decision.edge)
    assert result.last_value == pytest.approx(_kl(bench, present - result.dropped), rel=1e-9)
    assert result.acdc.circuit.edges <= set(some)


def _comes_before(bench: Bench, one: Any, other: Any) -> bool:
    order = receivers_backwards(bench.weights.topology, METHOD.order)
    return order.index(one) <= order.index(other)


def _kl(bench: Bench, edges: set[Any]) -> float:
    return measure(bench, circuit_logprobs(bench, edges), ["kl"])["kl"]


def test_screen_is_made_of_the_best_edges_by_integrated_gradients(bench: Bench):
    method = METHOD.model_copy(update={"screen": 0.3})
    screened = screened_by(bench, method)
    n_edges = bench.weights.topology.n_edges
    assert 0 < len(screened) <= round(0.3 * n_edges)
    assert screened.edges == screened.live_edges
    result = searched(bench, screened)
    assert result.acdc.circuit.edges <= screened.edges
    assert not result.dropped & screened.edges
