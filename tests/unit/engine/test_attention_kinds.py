"""Kinds of attention in every forward, search and gradient, against loops over queries and keys."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench, run_circuits, set_up
from acdc_pipeline.engine.circuit_forward import run_circuits_to_answers
from acdc_pipeline.engine.forward import run_streams, streams_from_outputs
from acdc_pipeline.engine.gradients.gates import edge_gate_gradient, node_gate_gradient
from acdc_pipeline.engine.gradients.receiver_gradients import GRADIENTS, receiver_gradients
from acdc_pipeline.engine.search.coupled_search import CoupledSearch
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.heads.layer_run import LayerRun, run_tokens
from tests.attention_models import KINDS, LAYERS, POSITIONS, VOCAB, build
from tests.oracles.plain_acdc import plain_acdc
from tests.oracles.plain_model import PlainModel, Read, everything
from tests.prompt_sets import random_prompts

PROMPTS = random_prompts(2, POSITIONS, VOCAB, seed=3, lengths=[6, 4])
TOLERANCE = 1e-10
"""The same sums in float64, in another order."""


@pytest.fixture(scope="module", params=KINDS)
def bench(request: pytest.FixtureRequest) -> Bench:
    return set_up(build(request.param), PROMPTS, "corrupted")


@pytest.fixture(scope="module")
def ablated(bench: Bench) -> dict[str, Tensor]:
    return PlainModel(bench.weights).run(PROMPTS.corrupted)[1]


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs.detach(), rtol=TOLERANCE, atol=TOLERANCE)


def at_answers(final: Tensor) -> Tensor:
    return final[PROMPTS.answer_row, PROMPTS.answer_pos]


def without(removed: set[str], ablated: dict[str, Tensor]) -> Read:
    def read(receiver: str, written: dict[str, Tensor]) -> Tensor:
        parts = [
            ablated[source] if f"{source}->{receiver}" in removed else out
            for source, out in written.items()
        ]
        return torch.stack(parts).sum(0)

    return read


def kl_of(bench: Bench, ablated: dict[str, Tensor]) -> Callable[[set[str]], float]:
    """KL(model ‖ circuit), mean over prompts, by the removed edges."""
    plain = PlainModel(bench.weights)
    model = plain.logprobs(at_answers(plain.run(PROMPTS.clean)[0]))

    def kl(removed: set[str]) -> float:
        final = plain.run(PROMPTS.clean, without(removed, ablated))[0]
        circuit = plain.logprobs(at_answers(final))
        return float((model.exp() * (model - circuit)).sum(-1).mean())

    return kl


def test_forward_every_kind_is_what_loops_compute(bench: Bench, ablated: dict[str, Tensor]):
    final, written = PlainModel(bench.weights).run(PROMPTS.clean)
    same(bench.clean.final, final)
    same(bench.clean.outputs, torch.stack(list(written.values())))
    same(bench.ablated, torch.stack(list(ablated.values())))
    same(run_streams(bench.weights, bench.clean.outputs[0]).final, final)


def test_layer_run_has_the_patterns_and_outputs_of_the_loops(bench: Bench):
    plain = PlainModel(bench.weights)
    _, written = plain.run(PROMPTS.clean)
    runs: list[LayerRun] = []
    run_tokens(bench.weights, PROMPTS.clean, visit=runs.append)
    for run in runs:
        names = [str(node) for node in bench.weights.topology.heads(run.layer)]
        same(run.pattern, torch.stack([plain.patterns[name] for name in names]))
        same(run.carried, torch.stack([plain.carried[name] for name in names]))
        same(run.written, torch.stack([written[name] for name in names]))
        sums = run.pattern.sum(-1)
        attn = run.block.attention
        if attn.difference is not None:
            same(sums, (1 - attn.difference.factor).expand_as(sums))
            assert bool((run.pattern < 0).any())
        else:
            assert bool((sums < 0.999).any()) == (attn.sinks is not None)


def test_exact_every_edge_costs_what_loops_without_it_say(bench: Bench, ablated: dict[str, Tensor]):
    kl, draw = kl_of(bench, ablated), Random(0)
    removals = SingleRemovals(bench, objective_for(bench, "kl"), memory=2**30)
    for receiver in bench.weights.topology.receivers:
        with torch.no_grad():
            values = {str(e): value for e, value in removals.without_edges(receiver)}
            edge = draw.choice(list(values))
            assert values[edge] == pytest.approx(kl({edge}), abs=TOLERANCE)


@pytest.mark.parametrize("every_layer_anew", [False, True])
def test_acdc_takes_the_decisions_of_a_plain_loop(
    bench: Bench, ablated: dict[str, Tensor], every_layer_anew: bool
):
    topology, objective = bench.weights.topology, objective_for(bench, "kl")
    search = bench.search(objective, memory=2**30)
    if every_layer_anew:
        arguments = (bench.weights, bench.clean, bench.ablated, bench.layout, objective, 2**30)
        search = CoupledSearch(*arguments)
    with torch.no_grad():
        found = acdc(
            search, topology, threshold=0.3, order="reverse-heads", difference="signed"
        ).decisions
        plain = plain_acdc(
            kl_of(bench, ablated),
            steps=[["a", "m"]] * LAYERS,
            n_heads=topology.n_heads,
            threshold=0.3,
        )
    assert [(str(d.edge), d.removed) for d in found] == [(s.edge, s.removed) for s in plain]
    for ours, theirs in zip(found, plain, strict=True):
        assert ours.metric_after == pytest.approx(theirs.after, abs=TOLERANCE)


def test_circuits_are_what_loops_over_their_edges_compute(bench: Bench, ablated: dict[str, Tensor]):
    draw, edges = Random(1), bench.weights.topology.edges
    masks = np.array([[draw.random() < share for _ in edges] for share in (0.3, 0.8)])
    found = run_circuits(bench.weights, PROMPTS.clean, bench.ablated, masks)
    arguments = (bench.weights, PROMPTS.clean, bench.ablated, masks, bench.layout)
    to_answers = run_circuits_to_answers(*arguments)
    for number, (mask, ours) in enumerate(zip(masks, found, strict=True)):
        removed = {str(edge) for edge, there in zip(edges, mask, strict=True) if not there}
        final = PlainModel(bench.weights).run(PROMPTS.clean, without(removed, ablated))[0]
        same(ours, final)
        same(to_answers[number], at_answers(final))


def test_receiver_gradients_are_those_of_the_loops(bench: Bench):
    """Each receiver reads a zero more; the derivative by that zero is its gradient."""
    at_final = torch.randn(bench.clean.final.shape, generator=torch.Generator().manual_seed(0))
    at_final = at_final.double()
    zeros: dict[str, Tensor] = {}

    def read(receiver: str, written: dict[str, Tensor]) -> Tensor:
        zeros[receiver] = torch.zeros_like(bench.clean.final, requires_grad=True)
        return everything(receiver, written) + zeros[receiver]

    final, _ = PlainModel(bench.weights).run(PROMPTS.clean, read)
    gradients = torch.autograd.grad((final * at_final).sum(), list(zeros.values()))
    expected = dict(zip(zeros, gradients, strict=True))
    streams = streams_from_outputs(bench.weights, bench.clean)
    for group in receiver_gradients(bench.weights, streams, at_final, GRADIENTS):
        for receiver, ours in zip(group.receivers, group.gradient, strict=True):
            same(ours, expected.pop(str(receiver)))
    assert not expected


def gated(ablated: dict[str, Tensor], gate: Callable[[str, str], Tensor]) -> Read:
    def read(receiver: str, written: dict[str, Tensor]) -> Tensor:
        parts = [
            ablated[source] + gate(source, receiver) * (out - ablated[source])
            for source, out in written.items()
        ]
        return torch.stack(parts).sum(0)

    return read


@pytest.mark.parametrize("of", ["edges", "nodes"])
def test_gates_have_the_gradient_of_the_loops(bench: Bench, ablated: dict[str, Tensor], of: str):
    topology = bench.weights.topology
    objective = differentiable_objective_for(bench, "kl")
    names = [str(item) for item in (topology.edges if of == "edges" else topology.sources)]
    draw = Random(2)
    gates = torch.tensor([draw.random() for _ in names], dtype=torch.float64)
    leaf = gates.clone().requires_grad_()
    place = {name: i for i, name in enumerate(names)}

    def gate(source: str, receiver: str) -> Tensor:
        return leaf[place[f"{source}->{receiver}" if of == "edges" else source]]

    final = PlainModel(bench.weights).run(PROMPTS.clean, gated(ablated, gate))[0]
    (expected,) = torch.autograd.grad(objective(at_answers(final)[None]).sum(), leaf)
    if of == "edges":
        same(edge_gate_gradient(bench, objective, gates, memory=2**30), expected)
    else:
        same(node_gate_gradient(bench, objective, gates, prompts_at_once=2), expected)
