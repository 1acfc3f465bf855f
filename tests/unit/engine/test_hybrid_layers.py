"""Models whose layers have heads, mixers and MLPs in any combination, against plain forwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.circuit_forward import run_circuits, run_circuits_to_answers
from acdc_pipeline.engine.forward import (
    changed_streams,
    run_sources,
    run_streams,
    streams_from_outputs,
)
from acdc_pipeline.engine.gradients.gates import edge_gate_gradient, node_gate_gradient
from acdc_pipeline.engine.search.coupled_search import CoupledSearch
from acdc_pipeline.engine.search.subgraph_search import SubgraphSearch
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.graph import INPUT, LOGITS, Receiver, Topology
from acdc_pipeline.graph.search_order import HeadOrder
from acdc_pipeline.models.describe import list_features
from acdc_pipeline.models.device import DTYPES
from acdc_pipeline.specs.names import Ablation
from tests.oracles.edge_gates import EdgeGates
from tests.oracles.hybrid import N_HEADS, VOCAB, PlainHybrid, hybrid_weights
from tests.oracles.plain_acdc import plain_acdc
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of

PROMPTS = random_prompts(2, 5, VOCAB, seed=5, lengths=[5, 3])


@dataclass(frozen=True)
class Case:
    layers: tuple[str, ...]
    parallel: bool = False
    norm: str = "rms"
    post: bool = False
    bias: bool = False
    ablation: Ablation = "corrupted"

    def __str__(self) -> str:
        flags = [name for name in ("parallel", "post", "bias") if getattr(self, name)]
        return "-".join([*self.layers, self.norm, *flags])

    def bench(self) -> Bench:
        weights = hybrid_weights(
            self.layers, parallel=self.parallel, norm=self.norm, post=self.post, bias=self.bias
        )
        return set_up(weights, PROMPTS, self.ablation)


MIXED = Case(("am", "rm", "arm"), norm="layer", bias=True)
ONE_PART = Case(("r", "m", "a", "am"), ablation="zero")
BESIDE = Case(("arm", "ar"), parallel=True, norm="none")
ONCE = Case(("m", "rm", "a", "rm"))
NO_HEADS = Case(("r", "rm"))
COUPLED = Case(("am", "r", "arm"), post=True)
COUPLED_PARALLEL = Case(("arm", "rm", "ar"), post=True, parallel=True)
CASES = [MIXED, ONE_PART, BESIDE, ONCE, NO_HEADS, COUPLED, COUPLED_PARALLEL]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def oracle_of(case: Case, bench: Bench) -> PlainHybrid:
    return PlainHybrid(bench.weights, PROMPTS, case.ablation)


def assert_equal(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert ours.keys() == theirs.keys()
    largest = max(abs(score) for score in theirs.values())
    assert largest > 0
    # Two ways to add up the same products in float64.
    assert max(abs(ours[edge] - theirs[edge]) for edge in ours) < 1e-10 * largest


@every_case
def test_hybrid_forward_writes_what_a_plain_one_does(case: Case):
    bench = case.bench()
    oracle = oracle_of(case, bench)
    final, written = oracle.run(PROMPTS.clean, frozenset())
    found = run_sources(bench.weights, PROMPTS.clean)
    assert [str(node) for node in bench.weights.topology.sources] == list(written)
    torch.testing.assert_close(found.outputs, torch.stack([*written.values()]))
    torch.testing.assert_close(found.final, final)
    streams = [
        streams_from_outputs(bench.weights, found),
        run_streams(bench.weights, found.outputs[0]),
    ]
    for receiver in bench.weights.topology.receivers:
        name, n = str(receiver), bench.weights.topology.n_sources_of(receiver)
        if name == "logits":
            continue
        biases = [
            block.attn.b_o
            for layer, block in enumerate(bench.weights.blocks)
            if block.attn is not None and block.attn.b_o is not None
            and bench.weights.topology.head_sources(layer).stop <= n
        ]  # fmt: skip
        expected = torch.stack([*written.values()][:n]).sum(0) + sum(biases)
        for one in streams:
            torch.testing.assert_close(one.read_by(receiver), expected)


@every_case
def test_hybrid_circuits_end_in_the_streams_of_plain_ones(case: Case):
    bench = case.bench()
    oracle, topology = oracle_of(case, bench), bench.weights.topology
    generator = np.random.default_rng(1)
    masks = generator.random((6, topology.n_edges)) < [[0.9], [0.6], [0.3], [0.05], [1.1], [-1]]
    # Whole nodes removed: all edges of a source, or none.
    for _ in range(3):
        kept = generator.random(len(topology.sources)) < 0.6
        masks = np.concatenate([masks, kept[topology.edge_sources][None]])
    finals = run_circuits(bench.weights, PROMPTS.clean, bench.ablated, masks)
    answers = run_circuits_to_answers(
        bench.weights, PROMPTS.clean, bench.ablated, masks, bench.layout
    )
    for mask, final, at_answers in zip(masks, finals, answers, strict=True):
        removed = {str(edge) for edge in topology.edges_in(~mask)}
        expected = oracle.run(PROMPTS.clean, removed)[0]
        torch.testing.assert_close(final, expected)
        torch.testing.assert_close(at_answers, bench.layout.at_answers(expected.flatten(0, 1)))


@every_case
def test_hybrid_change_of_a_source_travels_as_in_a_plain_forward(case: Case):
    bench = case.bench()
    oracle, topology = oracle_of(case, bench), bench.weights.topology
    clean = streams_from_outputs(bench.weights, bench.clean)
    for row, source in enumerate(topology.sources):
        change = (bench.ablated[row] - bench.clean.outputs[row])[None]
        found = changed_streams(bench.weights, clean, source, change).final
        out_of = {str(edge) for edge in topology.edges if edge.src == source}
        # Heads of a coupled layer are shares of one norm: the change is added after it.
        torch.testing.assert_close(found, oracle.run(PROMPTS.clean, out_of)[0])


def _groups(parts: str, parallel: bool) -> list[str]:
    """The parts of a layer that read the same stream."""
    if parallel:
        return [parts]
    return [group for group in (parts.replace("m", ""), "m" if "m" in parts else "") if group]


@every_case
def test_hybrid_acdc_decides_as_nested_loops_over_plain_forwards(case: Case):
    threshold = 0.01
    order: HeadOrder = "natural" if case is ONE_PART else "reverse-heads"
    bench = case.bench()
    oracle = oracle_of(case, bench)
    steps = plain_acdc(
        oracle.kl,
        steps=[_groups(parts, case.parallel) for parts in case.layers],
        n_heads=N_HEADS,
        threshold=threshold,
        reverse_heads=order == "reverse-heads",
    )
    assert min(step.margin for step in steps) > 1e-9
    objective = objective_for(bench, "kl")
    searches = [bench.search(objective, memory=2**30)]
    if case in (MIXED, COUPLED):
        searches.append(bench.search(objective, memory=10**5))
    if not case.post:
        plain = (bench.weights, bench.clean, bench.ablated, bench.layout, objective, 2**30)
        searches.append(CoupledSearch(*plain))
    assert isinstance(searches[0], CoupledSearch if case.post else SubgraphSearch)
    for search in searches:
        with torch.no_grad():
            found = acdc(
                search,
                bench.weights.topology,
                threshold=threshold,
                order=order,
                difference="signed",
            )
        assert [(str(d.edge), d.removed) for d in found.decisions] == [
            (step.edge, step.removed) for step in steps
        ]
        after = [d.metric_after for d in found.decisions]
        assert after == pytest.approx([step.after for step in steps], abs=1e-11)


@every_case
def test_hybrid_attributions_are_derivatives_of_a_plain_forward(case: Case):
    bench = case.bench()
    oracle = oracle_of(case, bench)
    rows = torch.arange(len(PROMPTS))
    right, wrong = (
        torch.tensor([token for (token,) in side]) for side in (PROMPTS.correct, PROMPTS.incorrect)
    )
    gates = EdgeGates(
        oracle,
        map(str, bench.weights.topology.edges),
        lambda lp: -(lp[rows, right] - lp[rows, wrong]).mean(),
    )
    setting: dict[str, Any] = {"ablation": case.ablation}
    assert_equal(scores_of("eap", bench, **setting), gates.eap())
    assert_equal(scores_of("eap-ig-inputs", bench, steps=2, **setting), gates.eap_ig_inputs(2))
    assert_equal(
        scores_of("eap-ig-activations", bench, steps=2, **setting), gates.eap_ig_activations(2)
    )
    assert_equal(scores_of("clean-corrupted", bench, **setting), gates.clean_corrupted())
    by_node: dict[str, float] = {}
    for edge, score in gates.eap().items():
        source = edge.split("->")[0]
        by_node[source] = by_node.get(source, 0.0) + score
    found = scores_of("node-attribution", bench, **setting)
    assert_equal(found, weaker_end(bench.weights.topology, by_node))


@every_case
def test_hybrid_single_removals_cost_what_plain_forwards_measure(case: Case):
    bench = case.bench()
    oracle, topology = oracle_of(case, bench), bench.weights.topology
    exact = {str(edge): oracle.kl({str(edge)}) for edge in topology.edges}
    setting: dict[str, Any] = {"metric": "kl", "ablation": case.ablation}
    assert_equal(scores_of("exact", bench, **setting), exact)
    by_node = {
        str(node): oracle.kl({str(edge) for edge in topology.edges if edge.src == node})
        for node in topology.sources
        if node != INPUT
    }
    assert_equal(scores_of("node-exact", bench, **setting), weaker_end(topology, by_node))


@every_case
def test_hybrid_gates_have_the_gradient_of_a_plain_gated_forward(case: Case):
    bench = case.bench()
    oracle, topology = oracle_of(case, bench), bench.weights.topology
    generator = torch.Generator().manual_seed(3)
    gates = torch.rand(topology.n_edges, generator=generator, dtype=torch.float64)
    objective = differentiable_objective_for(bench, "kl")

    def plain(leaf: Tensor, of_edge: list[int]) -> Tensor:
        shares = {str(e): leaf[i] for e, i in zip(topology.edges, of_edge, strict=True) if i >= 0}
        circuit = oracle.shared(shares)
        return (oracle.model.exp() * (oracle.model - circuit)).sum(-1).mean()

    leaf = gates.clone().requires_grad_()
    (expected,) = torch.autograd.grad(plain(leaf, list(range(topology.n_edges))), leaf)
    for memory in (2**30, 1):
        found = edge_gate_gradient(bench, objective, gates, memory)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    sources = gates[: len(topology.sources)]
    leaf = sources.clone().requires_grad_()
    (expected,) = torch.autograd.grad(plain(leaf, topology.edge_sources.tolist()), leaf)
    found = node_gate_gradient(bench, objective, sources, len(PROMPTS))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def weaker_end(topology: Topology, nodes: dict[str, float]) -> dict[str, float]:
    """The score of each edge as that of its end with the lower magnitude."""
    inner = {name: score for name, score in nodes.items() if name != "input"}
    best = max(inner.values(), key=abs)
    out = {}
    for edge in topology.edges:
        ends = [inner[str(n)] for n in (edge.src, edge.dst) if n not in (INPUT, LOGITS)]
        out[str(edge)] = min(ends, key=abs) if ends else best
    return out


def test_hybrid_mixer_needs_its_input_everywhere_and_is_written_where_it_is_read():
    bench = Case(("am", "rm")).bench()
    search = bench.search(objective_for(bench, "kl"), memory=2**30)
    assert isinstance(search, SubgraphSearch)
    with torch.no_grad():
        for name in ("logits", "m1", "r1"):
            receiver = Receiver.parse(name)
            search.visit(receiver, list(bench.weights.topology.sources_of(receiver)))
        search.leave()
    rows, answers = PROMPTS.clean.numel(), len(PROMPTS)
    circuit = search.circuit
    by_name = {str(receiver): len(x) for receiver, x in circuit.inputs.items()}
    assert by_name == {"logits": answers, "m1": answers, "r1": rows}
    assert {str(n): len(x) for n, x in circuit.written.items()} == {"m1": answers, "r1": answers}


def test_hybrid_model_in_another_precision_is_a_copy_with_the_same_logits():
    weights = hybrid_weights(("rm", "am"), bias=True)
    narrow = weights.to(precision=DTYPES["float32"], device=weights.device)
    before, after = (block.mixer for block in (weights.blocks[0], narrow.blocks[0]))
    assert before is not None
    assert after is not None
    assert {p.dtype for p in before.module.parameters()} == {torch.float64}
    assert {p.dtype for p in after.module.parameters()} == {torch.float32}
    wide = run_sources(weights, PROMPTS.clean).final
    torch.testing.assert_close(
        run_sources(narrow, PROMPTS.clean).final, wide.float(), rtol=1e-4, atol=1e-4
    )


def test_hybrid_model_says_what_it_consists_of():
    weights = hybrid_weights(("rm", "am", "r"))
    assert repr(weights).startswith(
        "<weights: 3 layers of the parts rm, am, r (a: 2 heads, r: mixer, m: MLP), width 8, "
    )
    features = list_features(weights)
    assert "attention in 1 of 3 layers" in features
    assert "moving average in 2 of 3 layers" in features
    assert list_features(hybrid_weights(("r", "m")))[-1] == (
        "no MLPs in 1 of 2 layers, silu MLPs in 1 of 2 layers"
    )
