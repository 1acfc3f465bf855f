"""Mixtures whose experts are nodes in graphs with spans, against brute force of transformers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import nan
from random import Random

import pytest
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import set_up
from acdc_pipeline.engine.gradients.gates import edge_gate_gradient
from acdc_pipeline.engine.search.positional_search import PositionalSearch
from acdc_pipeline.evaluation import (
    circuit_logprobs,
    differentiable_objective_for,
    measure,
    objective_for,
)
from acdc_pipeline.models import load_model
from acdc_pipeline.models.mixtures import split_experts
from acdc_pipeline.prompts.spans import spans_from_names, with_answers
from tests.float64 import Float64Throughout
from tests.hugging_face_models import VOCAB
from tests.oracles.edge_gates import OpenGates
from tests.oracles.hugging_face_experts import ExpertPatching
from tests.oracles.plain_acdc import decide_all, visits_in_spans
from tests.prompt_sets import random_prompts
from tests.unit.engine.test_experts import FEW, Case, assert_close, logit_diff, tiny

ROWS = [["a", "b", "a", "b", "END"], ["a", "a", "b", "b", "END"]]
SPANS = ("a", "b", "END")
SEES = {"a": {"a", "b"}, "b": {"a", "b"}, "END": {"a", "b", "END"}}


@pytest.fixture(
    scope="module", params=[tiny("Qwen3MoeForCausalLM"), *FEW], ids=lambda one: one.name
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Mixtures in every layer; coupled heads; and a shared expert, behind a dense layer."""
    prompts = random_prompts(2, 5, VOCAB, seed=5)
    spans = with_answers(spans_from_names(ROWS, 5), prompts.answer_row, prompts.answer_pos)
    directory = request.param.save(tmp_path_factory.mktemp(request.param.name))
    whole = load_model(f"dir:{directory}", dtype="float64", device="cpu").weights
    with Float64Throughout():
        bench = set_up(split_experts(whole), replace(prompts, spans=spans), "corrupted")
    graph = bench.weights.topology
    assert graph.spans == SPANS
    assert graph.visible == {name: frozenset(seen) for name, seen in SEES.items()}
    plain = ExpertPatching(
        request.param.load(directory),
        request.param.family,
        prompts.clean,
        prompts.corrupted,
        n_experts=max(graph.experts),
        shared=bool(graph.shared),
        factor=float(request.param.fields.get("moe_routed_scaling_factor", 1.0)),
        spans={s: torch.tensor([[float(n == s) for n in row] for row in ROWS]) for s in SPANS},
    )
    return Case(bench.weights, bench, plain, threshold=request.param.threshold / 10)


def test_exact_scores_of_experts_in_spans_are_those_of_brute_force(case: Case):
    into = [e for e in case.edges if ".router" in e or ".e" in e.split("->")[1] or ".shared" in e]
    some = Random(0).sample(into, 20) + Random(1).sample(case.edges, 10)
    whole, *without = logit_diff(case.plain.logits([set(), *({edge} for edge in some)])).tolist()
    theirs = {edge: value - whole for edge, value in zip(some, without, strict=True)}
    assert_close(case.scores("exact"), theirs)


def test_node_scores_of_experts_in_spans_are_those_of_brute_force(case: Case):
    expert = next(str(node) for node in case.topology.sources if node.kind == "expert")
    out = {edge for edge in case.edges if edge.startswith(f"{expert}->") and edge.endswith("@END")}
    whole, without = logit_diff(case.plain.logits([set(), out])).tolist()
    ours = case.scores("node-exact")[f"{expert}->logits@END"]
    assert ours == pytest.approx(without - whole, rel=1e-8)


def test_slopes_of_gates_of_experts_in_spans_are_the_gradients_of_transformers(case: Case):
    generator = torch.Generator().manual_seed(1)
    gates = torch.rand(case.topology.n_edges, generator=generator, dtype=torch.float64)
    leaf = gates.clone().requires_grad_()
    opened = OpenGates(
        dict(zip(case.edges, leaf, strict=True)), case.plain.ablated, case.plain.spans
    )
    with Float64Throughout():
        with torch.enable_grad():
            value = logit_diff(case.plain.gated_logits(opened))
            (theirs,) = torch.autograd.grad(value, leaf)
        objective = differentiable_objective_for(case.bench, "logit_diff")
        ours = edge_gate_gradient(case.bench, objective, gates, memory=2**30)
    names = partial(zip, case.edges, strict=True)
    assert_close(dict(names(ours.tolist())), dict(names(theirs.tolist())))


def test_random_circuits_of_experts_in_spans_have_the_divergence_of_brute_force(case: Case):
    draw, edges = Random(0), case.topology.edges
    gone = [{edge for edge in edges if draw.random() < share} for share in (0.05, 0.3, 0.7)]
    theirs = case.plain.kl_of_all([{str(edge) for edge in some} for some in gone])
    for some, expected in zip(gone, theirs, strict=True):
        with Float64Throughout():
            logprobs = circuit_logprobs(case.bench, case.topology.edge_set - some)
        ours = measure(case.bench, logprobs, ["kl"])["kl"]
        assert ours == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_acdc_on_experts_in_spans_decides_as_a_plain_loop_does(
    case: Case, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(PositionalSearch, "recompute_after", 20)
    with torch.no_grad(), Float64Throughout():
        search = case.bench.search(objective_for(case.bench, "kl"), memory=2**30)
        found = acdc(
            search,
            case.topology,
            threshold=case.threshold,
            order="reverse-heads",
            difference="signed",
        )
    known = _measured(case, [(str(d.edge), d.removed) for d in found.decisions])
    plan = visits_in_spans(case.plain.visits(), SPANS, SEES, "END")
    plain = decide_all(lambda gone: known.get(frozenset(gone), nan), plan, case.threshold)
    assert min(step.margin for step in plain) > 1e-8
    assert [str(d.edge) for d in found.decisions] == [step.edge for step in plain]
    assert [d.removed for d in found.decisions] == [step.removed for step in plain]
    after = [d.metric_after for d in found.decisions]
    assert after == pytest.approx([step.after for step in plain], rel=1e-8, abs=1e-12)
    tested = {d.edge.receiver.node.kind for d in found.decisions}
    assert {"expert", "router"} <= tested
    assert 0 < len(found.circuit) < len(found.decisions)


def _measured(case: Case, decisions: list[tuple[str, bool]]) -> dict[frozenset[str], float]:
    """The divergence of every circuit that a search with these decisions meets."""
    met, removed = [frozenset[str]()], set[str]()
    for edge, goes in decisions:
        met.append(frozenset(removed | {edge}))
        if goes:
            removed.add(edge)
    values: list[float] = []
    for start in range(0, len(met), 64):
        values += case.plain.kl_of_all(met[start : start + 64])
    return dict(zip(met, values, strict=True))
