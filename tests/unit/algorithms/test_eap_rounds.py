"""EAP-IG in rounds: each scores what the one before left, in the circuit that it left."""

from __future__ import annotations

import random

import pytest
import torch

from acdc_pipeline.algorithms import score_edges
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.forward import embed
from acdc_pipeline.errors import SpecError
from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs.catalogue import find_task
from tests.oracles.autograd_gates import run_edge_gates, run_edge_probes, written_in_circuit
from tests.scoring import problem_of, scored_method, scores_of
from tests.support import REPOSITORY


@pytest.fixture(scope="module")
def bench() -> Bench:
    model = load_model("zoo:compiled-or", dtype="float64", device="cpu")
    assert model.tokenizer is not None
    prompts = make_prompts(find_task("compiled_or", REPOSITORY), model.tokenizer, n=6, seed=0)
    return set_up(model.weights, prompts, "corrupted")


def test_gradient_by_probe_is_what_closing_the_gate_of_the_edge_costs_in_the_circuit(bench: Bench):
    """The oracle closes a gate by a little: forwards alone, and no probes."""
    weights, tokens = bench.weights, bench.prompts.clean
    n = weights.topology.n_edges
    rng = random.Random(0)
    present = torch.tensor([float(rng.random() < 0.7) for _ in range(n)], dtype=torch.float64)
    towards = torch.randn(
        bench.ablated.shape[1:],
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
    )
    written = written_in_circuit(weights, tokens, bench.ablated, present)
    probes = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        final = run_edge_probes(
            weights, embed(weights, tokens), bench.ablated, present, probes, bench.ablated - written
        )
        (final * towards).sum().backward()
    assert probes.grad is not None
    little = 1e-6
    for edge in range(n):
        if not present[edge]:
            continue
        both = []
        for sign in (1, -1):
            gates = present.clone()
            gates[edge] += sign * little
            both.append((run_edge_gates(weights, tokens, bench.ablated, gates) * towards).sum())
        slope = float(both[1] - both[0]) / (2 * little)
        assert float(probes.grad[edge]) == pytest.approx(slope, rel=1e-4, abs=1e-5)


def test_circuit_with_every_edge_writes_what_the_model_writes(bench: Bench):
    whole = torch.ones(bench.weights.topology.n_edges, dtype=torch.float64)
    written = written_in_circuit(bench.weights, bench.prompts.clean, bench.ablated, whole)
    torch.testing.assert_close(written, bench.clean.outputs, rtol=1e-9, atol=1e-9)


def test_first_round_is_the_method_without_rounds_and_the_last_circuit_is_cut_from_the_first():
    model = load_model("zoo:attn-2l", dtype="float64", device="cpu")
    assert model.tokenizer is not None
    prompts = make_prompts(find_task("induction", REPOSITORY), model.tokenizer, n=4, seed=0)
    bench = set_up(model.weights, prompts, "corrupted")
    topology, asked = model.topology, {"metric": "kl", "share": None, "edges": 26, "steps": 2}
    plain = scores_of("eap-ig-inputs", bench, **asked, rounds=1)
    found = scores_of("eap-ig-inputs", bench, **asked, rounds=2)
    # of 257 edges 26 are asked for: round(257 · (26/257)^(1/2)) = 82 are left by the first round
    left = cut(topology, by_edge(plain), edges=82, rank="magnitude")
    weakest = min(abs(found[str(edge)]) for edge in left.edges)
    gone = {str(edge) for edge in topology.edges if edge not in left}
    assert all(abs(found[name]) < weakest for name in gone)
    # what went first is in the order of the first round's scores, smaller by one factor
    factors = [found[name] / plain[name] for name in gone if plain[name]]
    assert 0 < factors[0] < 1
    assert factors == pytest.approx([factors[0]] * len(factors), rel=1e-6)
    assert cut(topology, by_edge(found), edges=26, rank="magnitude").edges <= left.edges


def test_groups_of_prompts_change_no_score(bench: Bench):
    asked = {"metric": "nll", "share": 0.4, "rounds": 3}
    whole = scores_of("eap-ig-inputs", bench, **asked)
    assert scores_of("eap-ig-inputs", bench, **asked, memory=1) == pytest.approx(whole, abs=1e-12)


def test_rounds_tell_how_far_they_are(bench: Bench):
    told: list[float] = []
    method = scored_method("eap-ig-inputs", metric="nll", share=0.4, rounds=3, steps=2)
    score_edges(problem_of(bench, "nll", advance=told.append), method)
    assert told == pytest.approx([k / 6 for k in range(1, 7)])


def test_one_round_is_no_part_of_what_a_run_is_known_by():
    plain = scored_method("eap-ig-inputs", rounds=1)
    assert "rounds" not in plain.plain()
    assert type(plain).from_plain(plain.plain()) == plain
    assert scored_method("eap-ig-inputs", rounds=4).plain()["rounds"] == 4


def test_rounds_by_signed_rank_are_refused():
    with pytest.raises(SpecError, match="several rounds rank by magnitude"):
        scored_method("eap-ig-inputs", rounds=2, rank="signed")


def by_edge(scores: dict[str, float]) -> dict[Edge, float]:
    return {Edge.parse(name): score for name, score in scores.items()}
