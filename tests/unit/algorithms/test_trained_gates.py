"""Gates that are trained: their distribution, and what training finds where the truth is known."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from acdc_pipeline.algorithms.gates import probability_open, sample_gates
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs.catalogue import find_task
from tests.scoring import scores_of
from tests.support import REPOSITORY

DRAWS = 20_000


@pytest.mark.parametrize("log_alpha", [-3.0, 0.0, 1.5, 4.0])
def test_gates_are_closed_as_often_as_their_distribution_says(log_alpha: float):
    generator = torch.Generator().manual_seed(0)
    many = torch.full((DRAWS,), log_alpha, dtype=torch.float64)
    gates = sample_gates(many, generator)
    assert 0 <= float(gates.min()) <= float(gates.max()) <= 1
    chance = float(probability_open(many)[0])
    share = float((gates > 0).double().mean())
    # Five standard deviations of a share among so many draws.
    assert abs(share - chance) < 5 * (chance * (1 - chance) / DRAWS) ** 0.5
    # By symmetry, a gate is as often exactly 1 as one of the opposite log α is exactly 0.
    ones = float((gates == 1).double().mean())
    mirrored = 1 - float(probability_open(-many)[0])
    assert abs(ones - mirrored) < 5 * (mirrored * (1 - mirrored) / DRAWS) ** 0.5


def test_gates_have_gradients_where_they_are_not_clipped():
    log_alpha = torch.zeros(1000, dtype=torch.float64, requires_grad=True)
    gates = sample_gates(log_alpha, torch.Generator().manual_seed(0))
    gates.sum().backward()
    assert log_alpha.grad is not None
    between = (gates > 0) & (gates < 1)
    assert between.any()
    assert (~between).any()
    assert (log_alpha.grad[between] > 0).all()
    assert (log_alpha.grad[~between] == 0).all()


@cache
def bench_of(name: str) -> Bench:
    model = load_model(f"zoo:{name}", dtype="float32", device="cpu")
    assert model.tokenizer is not None
    task = find_task(compiled.task_of(name), REPOSITORY)
    prompts = make_prompts(task, model.tokenizer, n=16, seed=0)
    return set_up(model.weights, prompts, "corrupted")


@pytest.mark.parametrize("name", ["compiled-gallery", "compiled-sort"])
def test_edge_pruning_to_the_true_size_finds_the_true_circuit(name: str):
    bench, truth = bench_of(name), compiled.true_circuit(name)
    scores = scores_of("edge-pruning", bench, metric="kl", share=None, edges=len(truth), steps=150)
    by_edge = {Edge.parse(edge): score for edge, score in scores.items()}
    found = cut(bench.weights.topology, by_edge, edges=len(truth), rank="signed")
    assert found.edges == truth.edges


@pytest.mark.parametrize("name", ["compiled-gallery", "compiled-sort"])
def test_subnetwork_probing_closes_the_nodes_that_the_truth_does_not_name(name: str):
    bench, truth = bench_of(name), compiled.true_circuit(name)
    scores = scores_of("subnetwork-probing", bench, metric="kl", steps=150)
    for node in bench.weights.topology.sources[1:]:
        # Its edge to the logits has no other end to be judged by.
        assert (scores[f"{node}->logits"] > 0) == (node in truth.nodes), str(node)
