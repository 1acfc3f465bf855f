"""The engine's ways of computing a circuit against one another and the model, at real size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from acdc_pipeline.engine import Bench, run_circuits, set_up
from acdc_pipeline.engine.forward import unembed
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.evaluation import circuit_logprobs, measure_circuits, objective_for, random_masks
from acdc_pipeline.graph import Edge, Receiver
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import find_task
from tests.real_models import real_reference
from tests.support import REPOSITORY

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model() -> Iterator[LoadedModel]:
    """The model, loaded once for this file."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield load_model(real_reference(monkeypatch), device="cpu")


@pytest.fixture(scope="module")
def bench(model: LoadedModel) -> Bench:
    """Three prompts of IOI."""
    assert model.tokenizer is not None
    prompts = make_prompts(find_task("ioi", REPOSITORY), model.tokenizer, n=3, seed=0)
    return set_up(model.weights, prompts, "corrupted")


def test_circuits_of_all_edges_and_of_none_are_the_two_runs_of_the_model(
    model: LoadedModel, bench: Bench
):
    every = np.ones((1, model.topology.n_edges), dtype=bool)
    prompts = bench.prompts
    answers = (prompts.answer_row, prompts.answer_pos)
    for mask, tokens in ((every, prompts.clean), (~every, prompts.corrupted)):
        final = run_circuits(bench.weights, prompts.clean, bench.ablated, mask)[0]
        ours = unembed(bench.weights, final[answers])
        theirs = model.reference_logits(tokens)[answers]
        # The parity gate's own bar, for the same float32 sums in another order.
        assert float((ours - theirs).abs().max() / theirs.abs().max()) <= 1e-5


def test_circuits_measured_together_are_what_each_is_alone(bench: Bench):
    topology = bench.weights.topology
    masks = list(random_masks(topology, edges=600, n=3, seed=0))
    together = [found["kl"] for found in measure_circuits(bench, masks, ["kl"])]
    for mask, value in zip(masks, together, strict=True):
        logprobs = circuit_logprobs(bench, topology.edges_in(mask))
        alone = (bench.logprobs.exp() * (bench.logprobs - logprobs)).sum(-1).mean()
        # Sums over 49,152 tokens in float32.
        assert value == pytest.approx(float(alone), rel=1e-4)


@pytest.mark.parametrize(
    "receiver",
    [
        "logits",
        pytest.param("m29", marks=pytest.mark.slow),
        pytest.param("a28.h3<q>", marks=pytest.mark.slow),
        "a15.h0<v>",
    ],
)
def test_removing_one_edge_is_the_circuit_of_all_others(bench: Bench, receiver: str):
    """Two independent ways: a suffix of the whole model, and a masked forward of all of it."""
    topology = bench.weights.topology
    objective = objective_for(bench, "logit_diff")
    target = Receiver.parse(receiver)
    removals = SingleRemovals(bench, objective, 2**28)
    with torch.no_grad():
        found = dict(removals.without_edges(target))
    for source in topology.sources_of(target)[:: max(1, topology.n_sources_of(target) // 3)]:
        edge = Edge.into(source, target)
        mask = np.ones(topology.n_edges, dtype=bool)
        mask[topology.edge_index(edge)] = False
        (value,) = measure_circuits(bench, [mask], ["logit_diff"])
        # Oriented the other way; differences of logits near 3 in float32.
        assert -found[edge] == pytest.approx(value["logit_diff"], abs=2e-4)
