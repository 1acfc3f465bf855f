"""Searches with spans against brute force on models of every kind of norm and attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.gradients.gates import (
    circuit_gradient,
    edge_gate_gradient,
    node_gate_gradient,
)
from acdc_pipeline.evaluation import (
    circuit_logits,
    circuit_logprobs,
    differentiable_objective_for,
    measure,
    objective_for,
)
from acdc_pipeline.graph.flow import flow_of
from acdc_pipeline.graph.neurons import NeuronMasks
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts.spans import spans_from_names, with_answers
from tests.every_class import EVERY_CLASS, TinyModel
from tests.float64 import Float64Throughout
from tests.hugging_face_models import VOCAB
from tests.oracles.edge_gates import EdgeGates, OpenGates
from tests.oracles.hugging_face_patching import HuggingFacePatching
from tests.oracles.plain_acdc import (
    Step,
    decide_all,
    metric_of_search,
    visits,
    visits_in_spans,
)
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of

ROWS = [["first", "NAME", "rest", "NAME", "END"], ["first", "rest", "NAME", "rest", "END"]]
SPANS = ("first", "NAME", "rest", "END")
SEES = {
    "first": {"first"},
    "NAME": {"first", "NAME", "rest"},
    "rest": {"first", "NAME", "rest"},
    "END": {"first", "NAME", "rest", "END"},
}

KINDS = {
    "GPT2LMHeadModel": "layer norms",
    "GPTNeoXForCausalLM": "parallel blocks",
    "LlamaForCausalLM": "grouped queries",
    "Gemma2ForCausalLM": "norms after attention, windows",
    "Olmo2ForCausalLM": "norms across queries",
    "BloomForCausalLM": "ALiBi",
    "GptOssForCausalLM": "sinks, a mixture",
    "DeepseekV3ForCausalLM": "latents",
    "DiffLlamaForCausalLM": "differences of two patterns",
    "JambaForCausalLM": "mixers",
}
TINY = [tiny for tiny in EVERY_CLASS if tiny.name in KINDS]


def test_every_kind_is_there():
    assert {tiny.name for tiny in TINY} == set(KINDS)


@dataclass(frozen=True)
class Case:
    tiny: TinyModel
    bench: Bench
    plain: HuggingFacePatching
    tolerance: float

    @property
    def edges(self) -> list[str]:
        return [str(edge) for edge in self.bench.weights.topology.edges]

    def scores(self, method: str) -> dict[str, float]:
        with Float64Throughout():
            return scores_of(method, self.bench)


@pytest.fixture(scope="module", params=TINY, ids=lambda tiny: tiny.name)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    tiny: TinyModel = request.param
    prompts = random_prompts(2, 5, VOCAB, seed=5)
    spans = with_answers(spans_from_names(ROWS, 5), prompts.answer_row, prompts.answer_pos)
    prompts = replace(prompts, spans=spans)
    directory = tiny.save(tmp_path_factory.mktemp(tiny.name))
    model = load_model(f"dir:{directory}", dtype=tiny.dtype, device="cpu")
    masks = {s: torch.tensor([[float(n == s) for n in row] for row in ROWS]) for s in SPANS}
    plain = HuggingFacePatching(
        tiny.load(directory), tiny.family, prompts.clean, prompts.corrupted, spans=masks
    )
    with torch.no_grad(), Float64Throughout():
        bench = set_up(model.weights, prompts, "corrupted")
    return Case(tiny, bench, plain, 1e-10 if tiny.dtype == "float64" else 1e-5)


def test_spans_see_those_before_them(case: Case):
    topology = case.bench.weights.topology
    assert topology.spans == SPANS
    assert topology.answer_spans == ("END",)
    assert topology.visible == {name: frozenset(seen) for name, seen in SEES.items()}


def test_exact_scores_in_spans_are_those_of_brute_force(case: Case):
    some = Random(0).sample(case.edges, 40)
    logits = case.plain.logits([set(), *({edge} for edge in some)])
    whole, *without = _logit_diff(case, logits).tolist()
    ours = case.scores("exact")
    assert [ours[edge] for edge in some] == pytest.approx(
        [value - whole for value in without], rel=100 * case.tolerance, abs=case.tolerance
    )


def test_eap_scores_in_spans_are_the_gradients_of_transformers(case: Case):
    theirs = EdgeGates(case.plain, case.edges, partial(_logit_diff, case)).eap()
    ours = case.scores("eap")
    assert set(ours) == set(theirs)
    largest = max(map(abs, theirs.values()))
    assert max(abs(ours[e] - theirs[e]) for e in theirs) < case.tolerance * largest


def test_node_scores_in_spans_are_those_of_brute_force(case: Case):
    topology = case.bench.weights.topology
    outputs = [(str(node), span) for node in topology.sources[1:] for span in topology.spans]
    removed = [
        {edge for edge in case.edges if edge.startswith(f"{node}->") and edge.endswith(f"@{span}")}
        for node, span in outputs
    ]
    # Nothing outside END reaches the logits directly, so all readers of an output are edges.
    whole, *without = _logit_diff(case, case.plain.logits([set(), *removed])).tolist()
    costs = {output: value - whole for output, value in zip(outputs, without, strict=True)}
    ours = case.scores("node-exact")
    for edge in case.edges:
        source, place = edge.split("->")
        receiver, span = place.split("@")
        ends = [costs[source, span]] if source != "input" else []
        if receiver != "logits":
            node = receiver.split("<")[0]
            across = receiver.endswith(("<k>", "<v>")) or receiver.startswith("r")
            seeing = [s for s in SPANS if span in SEES[s]] if across else [span]
            ends.append(max((costs[node, s] for s in seeing), key=abs))
        expected = min(ends, key=abs) if ends else max(costs.values(), key=abs)
        assert ours[edge] == pytest.approx(expected, rel=100 * case.tolerance, abs=case.tolerance)


def test_slopes_of_gates_in_spans_are_the_gradients_of_transformers(case: Case):
    """A gate on every edge, and one on every output: those of all its readers moved together."""
    topology, dtype = case.bench.weights.topology, case.bench.ablated.dtype
    generator = torch.Generator().manual_seed(1)
    n_sources = len(topology.sources)
    by_edge = torch.rand(topology.n_edges, generator=generator).to(dtype)
    by_output = torch.rand(n_sources * len(SPANS), generator=generator).to(dtype)
    flow = flow_of(topology)
    with Float64Throughout():
        objective = differentiable_objective_for(case.bench, "logit_diff")
        ours = edge_gate_gradient(case.bench, objective, by_edge, memory=2**30)
        theirs = _slopes(case, by_edge)
        assert (ours - theirs).abs().max() < 10 * case.tolerance * theirs.abs().max()
        circuit = by_edge.round()  # removing is the step of a gate from 1 to 0
        in_circuit = circuit_gradient(case.bench, objective, circuit, 1.0, memory=2**30)
        theirs = -_slopes(case, circuit)
        assert (in_circuit - theirs).abs().max() < 10 * case.tolerance * theirs.abs().max()
        ours = node_gate_gradient(case.bench, objective, by_output, prompts_at_once=1)
        at_edges = _slopes(case, by_output[flow.source])
        theirs = torch.zeros_like(ours).index_add_(0, torch.from_numpy(flow.source), at_edges)
        assert (ours - theirs).abs().max() < 10 * case.tolerance * theirs.abs().max()


def _slopes(case: Case, by_edge: Tensor) -> Tensor:
    leaf = by_edge.clone().requires_grad_()
    gates = OpenGates(
        dict(zip(case.edges, leaf, strict=True)), case.plain.ablated, case.plain.spans
    )
    with torch.enable_grad():
        value = _logit_diff(case, case.plain.gated_logits(gates))
        (slopes,) = torch.autograd.grad(value, leaf)
    return slopes


def test_random_circuits_in_spans_have_the_divergence_of_brute_force(case: Case):
    draw, edges = Random(0), case.bench.weights.topology.edges
    gone = [{edge for edge in edges if draw.random() < share} for share in (0.05, 0.4, 0.95)]
    theirs = case.plain.kl_of_all([{str(edge) for edge in some} for some in gone])
    for some, expected in zip(gone, theirs, strict=True):
        with Float64Throughout():
            logprobs = circuit_logprobs(case.bench, case.bench.weights.topology.edge_set - some)
        ours = measure(case.bench, logprobs, ["kl"])["kl"]
        assert ours == pytest.approx(expected, rel=10 * case.tolerance, abs=1e-12)


def test_edges_in_spans_carry_the_neurons_that_masks_keep(case: Case):
    topology, draw = case.bench.weights.topology, Random(2)
    width = case.bench.weights.d_model
    kept = np.array([[draw.random() < 0.7 for _ in range(width)] for _ in topology.sources])
    edges = [edge for edge in topology.edges if draw.random() < 0.8]
    carried = {str(e): torch.from_numpy(kept[topology.source_index[e.src]]) for e in edges}
    none = torch.zeros(width)
    gates = OpenGates(
        {edge: carried.get(edge, none).double() for edge in case.edges},
        case.plain.ablated,
        case.plain.spans,
    )
    with torch.no_grad(), Float64Throughout():
        theirs = case.plain.gated_logits(gates)
        ours = circuit_logits(case.bench, edges, NeuronMasks(kept))
    assert (ours - theirs).abs().max() < 100 * case.tolerance * theirs.abs().max()


def test_acdc_with_spans_decides_as_a_plain_loop_does(case: Case):
    tiny, bench, plain = case.tiny, case.bench, case.plain
    topology = bench.weights.topology
    with torch.no_grad(), Float64Throughout():
        found = acdc(
            bench.search(objective_for(bench, "kl"), memory=2**30),
            topology,
            threshold=tiny.threshold / 3,
            order="reverse-heads",
            difference="signed",
        )
    visited = [
        ([node], receiver, sources)
        for node, receiver, sources in visits(plain.steps, plain.n_heads)
    ]
    log = decide_all(
        metric_of_search(plain, [(str(d.edge), d.removed) for d in found.decisions]),
        visits_in_spans(visited, SPANS, SEES, "END"),
        tiny.threshold / 3,
    )
    _assert_same(found, log, case.tolerance)


@pytest.mark.parametrize("method", ["exact", "eap", "acdc"])
def test_one_span_for_all_tokens_gives_the_bits_of_the_graph_without_spans(case: Case, method: str):
    prompts = case.bench.prompts
    spans = spans_from_names([["all"] * 5] * 2, 5)
    spans = with_answers(spans, prompts.answer_row, prompts.answer_pos)
    weights = replace(case.bench.weights, spans=None)
    with torch.no_grad(), Float64Throughout():
        one, none = (
            set_up(weights, replace(prompts, spans=given), "corrupted") for given in (spans, None)
        )
    with Float64Throughout():
        found, expected = (_values(method, bench, case.tiny.threshold) for bench in (one, none))
    assert found == {f"{edge}@all": values for edge, values in expected.items()}


def _values(method: str, bench: Bench, threshold: float) -> dict[str, tuple[float, ...]]:
    """The score of each edge, or what ACDC measured of each that it tested."""
    if method != "acdc":
        return {edge: (score,) for edge, score in scores_of(method, bench).items()}
    with torch.no_grad():
        found = acdc(
            bench.search(objective_for(bench, "kl"), memory=2**30),
            bench.weights.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
        )
    return {str(d.edge): (d.metric_before, d.metric_after, d.removed) for d in found.decisions}


def _logit_diff(case: Case, logits: Tensor) -> Tensor:
    """Minus the difference of logits or log-probabilities of the two answers, mean over prompts."""
    prompts, rows = case.bench.prompts, torch.arange(2)
    right = torch.tensor([token for (token,) in prompts.correct])
    wrong = torch.tensor([token for (token,) in prompts.incorrect])
    return -(logits[..., rows, right] - logits[..., rows, wrong]).mean(-1)


def _assert_same(found, log: list[Step], tolerance: float) -> None:
    # A decision inside the noise of either side proves nothing; thresholds are chosen without.
    assert min(step.margin for step in log) > 10 * tolerance
    assert [str(d.edge) for d in found.decisions] == [step.edge for step in log]
    assert [d.removed for d in found.decisions] == [step.removed for step in log]
    after = [d.metric_after for d in found.decisions]
    assert after == pytest.approx([s.after for s in log], rel=10 * tolerance, abs=1e-12)
    assert 0 < len(found.circuit) < len(found.decisions)
