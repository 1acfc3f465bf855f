"""Forwards with gates: at 0 and 1 they are circuits, in between their slopes are attribution."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor

from acdc_pipeline.engine import Bench, circuit_forward, run_circuit, run_circuits, set_up
from acdc_pipeline.engine.gradients.gates import (
    circuit_gradient,
    edge_gate_gradient,
    node_gate_gradient,
    run_node_gates,
)
from acdc_pipeline.evaluation import differentiable_objective_for
from acdc_pipeline.graph import LOGITS, Receiver
from tests import checkpoints, tiny_models
from tests.oracles.autograd_gates import run_edge_gates, run_edge_probes, written_in_circuit
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of

NAMES = ["gpt2", "gptj", "falcon", "gemma2", "olmo2", "native-no-norm", "native-rms-rotary-gated"]
PROMPTS = random_prompts(3, 6, checkpoints.VOCAB, seed=5)


@pytest.fixture(params=NAMES)
def bench(request: pytest.FixtureRequest) -> Bench:
    return set_up(tiny_models.weights(request.param), PROMPTS, "corrupted")


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    # The same sums in float64, in another order.
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_edge_gates_of_0_and_1_are_a_circuit(bench: Bench):
    draw = Random(0)
    edges = bench.weights.topology.edges
    for share in (0.0, 0.3, 0.8, 1.0):
        kept = [edge for edge in edges if draw.random() < share]
        gates = torch.tensor([float(edge in kept) for edge in edges], dtype=torch.float64)
        ours = run_edge_gates(bench.weights, bench.prompts.clean, bench.ablated, gates)
        assert_same(ours, run_circuit(bench.weights, bench.prompts.clean, bench.ablated, kept))


@pytest.mark.parametrize("batch_bytes", [1, 2**24])
def test_circuits_without_nodes_run_together_are_what_gates_say_of_each(
    bench: Bench, batch_bytes: int, monkeypatch: pytest.MonkeyPatch
):
    """Small batches keep one stream, begun where two knockouts differ; the oracle never does."""
    monkeypatch.setattr(circuit_forward, "_BATCH_BYTES", batch_bytes)
    topology = bench.weights.topology
    draw, n = Random(4), len(bench.weights.topology.sources)
    present = np.array([[draw.random() < 0.7 for _ in range(n)] for _ in range(6)])
    present[0] = True
    present[1:3, : n // 2] = True  # the first half is the same: it is computed once
    masks = present[:, topology.edge_sources]
    together = run_circuits(bench.weights, bench.prompts.clean, bench.ablated, masks)
    for mask, ours in zip(masks, together, strict=True):
        gates = torch.from_numpy(mask).double()
        assert_same(ours, run_edge_gates(bench.weights, bench.prompts.clean, bench.ablated, gates))


@pytest.mark.parametrize("share", [0.08, 0.6])
@pytest.mark.parametrize("shared_bytes", [1, 2**28])
def test_circuits_that_share_nodes_run_together_are_what_gates_say_of_each(
    bench: Bench, shared_bytes: int, share: float, monkeypatch: pytest.MonkeyPatch
):
    """With little room what circuits share gives way and is computed again."""
    monkeypatch.setattr(circuit_forward, "_SHARED_BYTES", shared_bytes)
    topology = bench.weights.topology
    draw = Random(6)
    whole = np.array([draw.random() < share for _ in range(topology.n_edges)])
    whole[topology.first_edge[Receiver(LOGITS)] :] = True
    gone = [draw.randrange(len(topology.sources)) for _ in range(5)]
    less = [whole & (topology.edge_sources != source) for source in gone]
    masks = np.stack([whole, *less, ~whole, whole])
    together = run_circuits(bench.weights, bench.prompts.clean, bench.ablated, masks)
    for mask, ours in zip(masks, together, strict=True):
        gates = torch.from_numpy(mask).double()
        assert_same(ours, run_edge_gates(bench.weights, bench.prompts.clean, bench.ablated, gates))


def test_node_gates_are_edge_gates_that_are_equal_for_all_readers(bench: Bench):
    sources = bench.weights.topology.sources
    generator = torch.Generator().manual_seed(0)
    by_node = torch.rand(len(sources), generator=generator, dtype=torch.float64)
    index = {node: i for i, node in enumerate(sources)}
    by_edge = by_node[[index[edge.src] for edge in bench.weights.topology.edges]]
    arguments = (bench.weights, bench.prompts.clean, bench.ablated)
    assert_same(run_node_gates(*arguments, by_node), run_edge_gates(*arguments, by_edge))


def test_slope_of_open_edge_gates_is_the_score_of_attribution_patching(bench: Bench):
    objective = differentiable_objective_for(bench, "logit_diff")
    gates = torch.ones(bench.weights.topology.n_edges, dtype=torch.float64)
    slopes = edge_gate_gradient(bench, objective, gates, memory=2**30)
    scores = torch.tensor(list(scores_of("eap", bench).values()), dtype=torch.float64)
    # Opening a gate takes back what removing the edge costs.
    assert_same(slopes, -scores)


@pytest.mark.parametrize("memory", [1, 2**30])
def test_slope_by_layers_is_what_autograd_finds_through_the_whole_forward(
    bench: Bench, memory: int
):
    objective = differentiable_objective_for(bench, "kl")
    generator = torch.Generator().manual_seed(1)
    gates = torch.rand(bench.weights.topology.n_edges, generator=generator, dtype=torch.float64)
    leaf = gates.clone().requires_grad_()
    with torch.enable_grad():
        final = run_edge_gates(bench.weights, bench.prompts.clean, bench.ablated, leaf)
        objective(bench.layout.at_answers(final.flatten(0, 1))[None]).sum().backward()
    assert leaf.grad is not None
    assert_same(edge_gate_gradient(bench, objective, gates, memory), leaf.grad)


@pytest.mark.parametrize("memory", [1, 2**30])
def test_gradient_in_a_circuit_is_what_autograd_finds_by_its_probes(bench: Bench, memory: int):
    objective = differentiable_objective_for(bench, "nll")
    draw, tokens = Random(3), bench.prompts.clean
    n_edges = bench.weights.topology.n_edges
    present = torch.tensor([float(draw.random() < 0.7) for _ in range(n_edges)]).double()
    probes = torch.zeros(n_edges, dtype=torch.float64, requires_grad=True)
    steps = bench.ablated - written_in_circuit(bench.weights, tokens, bench.ablated, present)
    at = bench.ablated[0] + 0.4 * (bench.clean.outputs[0] - bench.ablated[0])
    with torch.enable_grad():
        final = run_edge_probes(bench.weights, at, bench.ablated, present, probes, steps)
        objective(bench.layout.at_answers(final.flatten(0, 1))[None]).sum().backward()
    assert probes.grad is not None
    found = circuit_gradient(bench, objective, present, 0.4, memory)
    assert_same(found, probes.grad)


@pytest.mark.parametrize("at_once", [1, 2])
def test_slope_is_the_same_however_many_prompts_are_held(bench: Bench, at_once: int):
    objective = differentiable_objective_for(bench, "kl")
    generator = torch.Generator().manual_seed(1)
    n_sources = len(bench.weights.topology.sources)
    gates = torch.rand(n_sources, generator=generator, dtype=torch.float64)
    whole = node_gate_gradient(bench, objective, gates, prompts_at_once=3)
    assert_same(node_gate_gradient(bench, objective, gates, at_once), whole)


def test_slope_is_the_finite_difference(bench: Bench):
    objective = differentiable_objective_for(bench, "nll")
    generator = torch.Generator().manual_seed(2)
    gates = torch.rand(len(bench.weights.topology.sources), generator=generator).double()
    slopes = node_gate_gradient(bench, objective, gates, prompts_at_once=3)
    step = 1e-5
    for i in range(len(gates)):
        ends = []
        for sign in (1, -1):
            moved = gates.clone()
            moved[i] += sign * step
            final = run_node_gates(bench.weights, bench.prompts.clean, bench.ablated, moved)
            ends.append(objective(bench.layout.at_answers(final.flatten(0, 1))[None]))
        # The error of the quotient is of the order of its step squared.
        torch.testing.assert_close(
            (ends[0] - ends[1])[0] / (2 * step), slopes[i], rtol=1e-5, atol=1e-8
        )
