"""Mixtures whose experts are nodes, against brute force on the classes of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench, run_circuit, set_up
from acdc_pipeline.engine.forward import embed
from acdc_pipeline.engine.gradients.gates import EdgeGated, edge_gate_gradient, run_node_gates
from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.evaluation import (
    circuit_logprobs,
    differentiable_objective_for,
    measure,
    objective_for,
)
from acdc_pipeline.graph import Topology
from acdc_pipeline.models import load_model
from acdc_pipeline.models.mixtures import split_experts
from acdc_pipeline.models.weights import TransformerWeights
from tests.every_class import EVERY_CLASS, TinyModel
from tests.float64 import Float64Throughout
from tests.hugging_face_models import VOCAB
from tests.oracles.edge_gates import EdgeGates
from tests.oracles.hugging_face_experts import ExpertPatching
from tests.oracles.plain_acdc import decide_all
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of

PROMPTS = random_prompts(2, 5, VOCAB, seed=5)

# The same sums in another order, in float64; relative to the largest value.
TOLERANCE = 1e-10


def tiny(name: str, number: int = 0, **fields: Any) -> TinyModel:
    """The tiny model of a class, or another of them, with two heads to be fast."""
    found = [one for one in EVERY_CLASS if one.name == name][number]
    few = {"num_attention_heads": 2, "num_key_value_heads": 1, **fields}
    return replace(found, fields={**found.fields, **few})


MODELS = (
    tiny("Qwen3MoeForCausalLM"),
    tiny("MixtralForCausalLM"),  # with ties of experts
    tiny("OlmoeForCausalLM"),  # heads are coupled
    tiny("Glm4MoeForCausalLM", 1),  # all tokens at two experts; a shared expert; a dense layer
    tiny("GraniteMoeSharedForCausalLM"),  # the shared part is a module beside the mixture
)
FEW = MODELS[2:4]
OTHERS = (
    tiny("GptOssForCausalLM"),
    tiny("DeepseekV3ForCausalLM", num_attention_heads=4, num_key_value_heads=4),
    tiny("GraniteMoeHybridForCausalLM"),
    tiny("LagunaForCausalLM"),  # the sum of the experts is multiplied by a constant
)


def only(models: Sequence[TinyModel]) -> pytest.MarkDecorator:
    """Run a test with some of the models, which are expensive or differ in little else."""
    return pytest.mark.parametrize("case", models, indirect=True, ids=lambda tiny: tiny.name)


@dataclass(frozen=True)
class Case:
    weights: TransformerWeights
    bench: Bench
    plain: ExpertPatching
    threshold: float

    @property
    def topology(self) -> Topology:
        return self.weights.topology

    @property
    def edges(self) -> list[str]:
        return [str(edge) for edge in self.topology.edges]

    def scores(self, method: str) -> dict[str, float]:
        with Float64Throughout():
            return scores_of(method, self.bench)


@pytest.fixture(scope="module", params=MODELS, ids=lambda tiny: tiny.name)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    tiny: TinyModel = request.param
    directory: Path = tiny.save(tmp_path_factory.mktemp(tiny.name))
    whole = load_model(f"dir:{directory}", dtype="float64", device="cpu").weights
    with Float64Throughout():
        weights = split_experts(whole)
        bench = set_up(weights, PROMPTS, "corrupted")
    graph = weights.topology
    plain = ExpertPatching(
        tiny.load(directory),
        tiny.family,
        PROMPTS.clean,
        PROMPTS.corrupted,
        n_experts=max(graph.experts),
        shared=bool(graph.shared),
        factor=float(tiny.fields.get("moe_routed_scaling_factor", 1.0)),
    )
    return Case(weights, bench, plain, threshold=tiny.threshold / 10)


def logit_diff(logits: Tensor) -> Tensor:
    """Minus the difference of logits or log-probabilities of the two answers, mean over prompts."""
    rows = torch.arange(len(PROMPTS))
    right = torch.tensor([token for (token,) in PROMPTS.correct])
    wrong = torch.tensor([token for (token,) in PROMPTS.incorrect])
    return -(logits[..., rows, right] - logits[..., rows, wrong]).mean(-1)


def assert_close(ours: dict[str, float], theirs: dict[str, float]) -> None:
    largest = max(map(abs, theirs.values()))
    assert largest > 0
    differences = {edge: abs(ours[edge] - theirs[edge]) for edge in theirs}
    assert max(differences.values()) < TOLERANCE * largest, max(
        differences, key=lambda edge: differences[edge]
    )


def test_experts_oracle_is_the_model_between_no_and_all_edges_removed(case: Case):
    with torch.no_grad(), Float64Throughout():
        clean, corrupted = (
            case.plain.model(tokens, use_cache=False).logits[:, -1]
            for tokens in (PROMPTS.clean, PROMPTS.corrupted)
        )
    none, every = case.plain.logits([set(), case.edges])
    assert (none - clean).abs().max() < TOLERANCE * clean.abs().max()
    assert (every - corrupted).abs().max() < TOLERANCE * clean.abs().max()


def test_experts_outputs_sum_to_that_of_the_mixture(case: Case):
    """What each node writes is what it writes in the copies of the oracle."""
    with torch.no_grad():
        theirs = case.plain.clean_outputs()
    for node, index in case.topology.source_index.items():
        expected = theirs[str(node)]
        assert (case.bench.clean.outputs[index] - expected).abs().max() < 1e-12
    final = case.bench.layout.at_answers(case.bench.clean.final.flatten(0, 1))
    assert torch.isfinite(final).all()


def test_experts_edges_are_those_of_the_parts_that_read_and_write(case: Case):
    expected = {
        f"{source}->{receiver}"
        for _, receiver, sources in case.plain.visits()
        for source in sources
    }
    assert set(case.edges) == expected
    assert len(case.edges) == len(expected)


def test_experts_exact_scores_are_those_of_brute_force(case: Case):
    check_exact_scores(case)


@only(OTHERS)
def test_experts_of_other_classes_have_the_exact_scores_of_brute_force(case: Case):
    check_exact_scores(case)


def check_exact_scores(case: Case) -> None:
    into = [e for e in case.edges if ".router" in e or ".e" in e.split("->")[1] or ".shared" in e]
    some = Random(0).sample(into, 20) + Random(1).sample(case.edges, 10)
    logits = case.plain.logits([set(), *({edge} for edge in some)])
    whole, *without = logit_diff(logits).tolist()
    theirs = {edge: value - whole for edge, value in zip(some, without, strict=True)}
    assert_close(case.scores("exact"), theirs)


def test_experts_eap_scores_are_the_gradients_of_transformers(case: Case):
    plain = EdgeGates(case.plain, case.edges, logit_diff)
    assert_close(case.scores("eap"), plain.eap())


def test_experts_random_circuits_have_the_divergence_of_brute_force(case: Case):
    draw = Random(0)
    edges = case.topology.edges
    gone = [{edge for edge in edges if draw.random() < share} for share in (0.05, 0.3, 0.7)]
    theirs = case.plain.kl_of_all([{str(edge) for edge in some} for some in gone])
    for some, expected in zip(gone, theirs, strict=True):
        with Float64Throughout():
            logprobs = circuit_logprobs(case.bench, case.topology.edge_set - some)
        ours = measure(case.bench, logprobs, ["kl"])["kl"]
        assert ours == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_experts_acdc_decides_as_a_plain_loop_does(case: Case):
    with torch.no_grad(), Float64Throughout():
        found = acdc(
            case.bench.search(objective_for(case.bench, "kl"), memory=2**30),
            case.topology,
            threshold=case.threshold,
            order="reverse-heads",
            difference="signed",
        )
    met, removed = [frozenset[str]()], set[str]()
    for decision in found.decisions:
        met.append(frozenset(removed | {str(decision.edge)}))
        if decision.removed:
            removed.add(str(decision.edge))
    known = dict(zip(met, case.plain.kl_of_all(met), strict=True))

    def metric(gone: set[str]) -> float:
        key = frozenset(gone)
        return known[key] if key in known else case.plain.kl(key)

    plain = decide_all(metric, case.plain.visits(), case.threshold)
    assert min(step.margin for step in plain) > 1e-8
    assert [str(d.edge) for d in found.decisions] == [step.edge for step in plain]
    assert [d.removed for d in found.decisions] == [step.removed for step in plain]
    after = [d.metric_after for d in found.decisions]
    assert after == pytest.approx([step.after for step in plain], rel=1e-8, abs=1e-12)
    tested = {edge.receiver.node.kind for edge in (d.edge for d in found.decisions)}
    assert {"expert", "router"} <= tested
    assert 0 < len(found.circuit) < len(found.decisions)


@only(FEW[1:])
@pytest.mark.parametrize("method", ["eap-ig-inputs", "clean-corrupted", "eap-ig-activations"])
def test_experts_scores_with_several_gradients_are_those_of_transformers(case: Case, method: str):
    plain = EdgeGates(case.plain, case.edges, logit_diff)
    theirs = {
        "eap-ig-inputs": lambda: plain.eap_ig_inputs(3),
        "clean-corrupted": plain.clean_corrupted,
        "eap-ig-activations": lambda: plain.eap_ig_activations(3),
    }[method]
    assert_close(case.scores(method), theirs())


@only(FEW)
def test_experts_node_scores_are_sums_and_removals_of_their_edges(case: Case):
    plain = EdgeGates(case.plain, case.edges, logit_diff)
    by_node: dict[str, float] = {}
    for edge, score in plain.eap().items():
        by_node[edge.split("->")[0]] = by_node.get(edge.split("->")[0], 0.0) + score
    expert = next(str(node) for node in case.topology.sources if node.kind == "expert")
    into_logits = f"{expert}->logits"
    ours = case.scores("node-attribution")
    assert ours[into_logits] == pytest.approx(by_node[expert], rel=1e-8)
    out = {edge for edge in case.edges if edge.startswith(f"{expert}->")}
    whole, without = logit_diff(case.plain.logits([set(), out])).tolist()
    assert case.scores("node-exact")[into_logits] == pytest.approx(without - whole, rel=1e-8)
    # A router has no score: an edge into it has that of its source.
    into_router = next(edge for edge in case.edges if edge.endswith("router") and edge[0] == "a")
    assert ours[into_router] == pytest.approx(by_node[into_router.split("->")[0]], rel=1e-8)


@only(FEW)
def test_experts_gates_of_0_and_1_are_a_circuit_and_have_the_slope_of_finite_differences(
    case: Case,
):
    draw, bench = Random(1), case.bench
    mask = [draw.random() < 0.7 for _ in case.edges]
    gates = torch.tensor(mask, dtype=torch.float64)
    objective = differentiable_objective_for(bench, "nll")
    with torch.no_grad(), Float64Throughout():

        def final(values: Tensor) -> Tensor:
            embedded = embed(case.weights, PROMPTS.clean)
            return EdgeGated(case.weights, bench.ablated, values).final(embedded)

        def value(values: Tensor) -> float:
            return float(objective(bench.layout.at_answers(final(values).flatten(0, 1))[None])[0])

        kept = [edge for edge, there in zip(case.topology.edges, mask, strict=True) if there]
        circuit = run_circuit(case.weights, PROMPTS.clean, bench.ablated, kept)
        torch.testing.assert_close(final(gates), circuit, rtol=1e-10, atol=1e-10)
        slopes = edge_gate_gradient(bench, objective, gates, memory=2**30)
        some = [i for i, edge in enumerate(case.edges) if ".e" in edge or ".router" in edge]
        for i in Random(2).sample(some, 8):
            step = torch.zeros_like(gates)
            step[i] = 1e-6
            slope = (value(gates + step) - value(gates - step)) / 2e-6
            # The error of the quotient is of the order of its step squared.
            assert float(slopes[i]) == pytest.approx(slope, rel=1e-4, abs=1e-7)


@only(FEW)
def test_experts_node_gates_are_edge_gates_that_are_equal_for_all_readers(case: Case):
    generator = torch.Generator().manual_seed(0)
    by_node = torch.rand(len(case.topology.sources), generator=generator, dtype=torch.float64)
    by_edge = by_node[torch.from_numpy(case.topology.edge_sources).long()]
    with torch.no_grad(), Float64Throughout():
        embedded = embed(case.weights, PROMPTS.clean)
        edges = EdgeGated(case.weights, case.bench.ablated, by_edge).final(embedded)
        nodes = run_node_gates(case.weights, PROMPTS.clean, case.bench.ablated, by_node)
    torch.testing.assert_close(nodes, edges, rtol=1e-10, atol=1e-10)


def test_mixtures_that_cannot_be_split_are_refused_with_the_reason(tmp_path: Path):
    for name, reason in (
        ("FlexOlmoForCausalLM", "a norm follows it"),
        ("AXK1ForCausalLM", "is not the sum of its experts"),
    ):
        directory = tiny(name).save(tmp_path / name)
        weights = load_model(f"dir:{directory}", dtype="float64", device="cpu").weights
        with pytest.raises(UnsupportedModel, match=reason):
            split_experts(weights)
