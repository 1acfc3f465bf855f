"""Gates on blocks, heads and neurons: their gradients, and what training finds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from acdc_pipeline.algorithms import score_edges
from acdc_pipeline.algorithms.scoring import DetailedScores
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.gradients.gates import node_gate_gradient, run_node_gates
from acdc_pipeline.engine.gradients.unit_gates import (
    run_unit_gates,
    unit_counts,
    unit_gate_gradient,
)
from acdc_pipeline.evaluation import differentiable_objective_for
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs import find_task
from tests import checkpoints
from tests.prompt_sets import random_prompts
from tests.scoring import problem_of, scored_method
from tests.support import REPOSITORY


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("models") / request.param
    directory: Path = checkpoints.EVERY[request.param](folder)
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    prompts = random_prompts(3, 5, checkpoints.VOCAB, seed=1, lengths=[5, 4, 5])
    return set_up(model.weights, prompts, "corrupted")


def drawn(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_equal_gates_of_all_neurons_are_a_gate_of_their_mlp(bench: Bench):
    topology, counts = bench.weights.topology, unit_counts(bench.weights)
    nodes, of_mlp = drawn(len(topology.sources), 0), drawn(len(counts), 1)
    units = torch.cat([of_mlp[layer].repeat(n) for layer, n in enumerate(counts)])
    together = nodes.clone()
    for layer in range(len(counts)):
        together[topology.mlp_sources(layer).start] *= of_mlp[layer]
    everything = slice(0, bench.layout.batch)
    theirs = run_node_gates(bench.weights, bench.prompts.clean, bench.ablated, together)
    torch.testing.assert_close(run_unit_gates(bench, everything, nodes, units), theirs)
    objective = differentiable_objective_for(bench, "logit_diff")
    ours = unit_gate_gradient(bench, objective, nodes, units, 2)
    expected = node_gate_gradient(bench, objective, together, 3)
    by_unit = ours[len(nodes) :].split(counts)
    for layer in range(len(counts)):
        at = topology.mlp_sources(layer).start
        torch.testing.assert_close(by_unit[layer].sum(), nodes[at] * expected[at])
        torch.testing.assert_close(ours[at], of_mlp[layer] * expected[at])


def test_gradient_by_gates_of_neurons_is_that_of_finite_differences(bench: Bench):
    counts = unit_counts(bench.weights)
    nodes = drawn(len(bench.weights.topology.sources), 2)
    units = drawn(sum(counts), 3)
    objective = differentiable_objective_for(bench, "kl")

    def value(gates: torch.Tensor) -> float:
        final = run_unit_gates(bench, slice(0, 3), nodes, gates)
        return float(objective(bench.layout.at_answers(final.flatten(0, 1))[None]))

    ours = unit_gate_gradient(bench, objective, nodes, units, 3)[len(nodes) :]
    for number in range(0, len(units), 7):
        step = torch.zeros_like(units)
        step[number] = 1e-5
        slope = (value(units + step) - value(units - step)) / 2e-5
        assert float(ours[number]) == pytest.approx(slope, rel=1e-4, abs=1e-9)


def compiled_bench(name: str) -> Bench:
    model = load_model(f"zoo:{name}", dtype="float32", device="cpu")
    assert model.tokenizer is not None
    task = find_task(compiled.task_of(name), REPOSITORY)
    return set_up(model.weights, make_prompts(task, model.tokenizer, n=16, seed=0), "corrupted")


@pytest.mark.parametrize("name", ["compiled-majority", "compiled-successor"])
def test_node_pruning_keeps_the_true_nodes_and_the_neurons_that_change_anything(name: str):
    bench, truth = compiled_bench(name), compiled.true_circuit(name)
    topology, counts = bench.weights.topology, unit_counts(bench.weights)
    method = scored_method("node-pruning", metric="kl", steps=150)
    scores = score_edges(problem_of(bench, "kl"), method)
    assert isinstance(scores, DetailedScores)
    for node in topology.sources[1:]:
        score = scores[topology.edge_of(f"{node}->logits")]
        assert (score > 0) == (node in truth.nodes), str(node)
    assert scores.details["cost_with_neurons"] == pytest.approx(0, abs=1e-4)

    # Brute force: each neuron alone closed in the whole model.
    objective = differentiable_objective_for(bench, "kl")
    neurons = [(layer, number) for layer, count in enumerate(counts) for number in range(count)]
    needed: dict[int, list[int]] = {layer: [] for layer, count in enumerate(counts) if count}
    for closed, (layer, number) in enumerate(neurons):
        units = torch.ones(len(neurons))
        units[closed] = 0
        final = run_unit_gates(bench, slice(0, 16), torch.ones(len(topology.sources)), units)
        if float(objective(bench.layout.at_answers(final.flatten(0, 1))[None])) > 0.01:
            needed[layer].append(number)
    found = scores.details["neurons"]
    assert {int(mlp[1:]): of["kept"] for mlp, of in found.items()} == needed
    assert 0 < sum(map(len, needed.values())) < len(neurons)
