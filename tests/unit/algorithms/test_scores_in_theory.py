"""What scores of edges must be by their equations: exact where all is linear, and complete."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.algorithms import score_edges
from acdc_pipeline.engine import Bench, run_circuit, set_up
from acdc_pipeline.engine.forward import changed_streams, run_streams, streams_from_outputs
from acdc_pipeline.evaluation import differentiable_objective_for
from acdc_pipeline.graph import Node
from acdc_pipeline.models import load_model
from acdc_pipeline.specs import SCORED_METHODS
from tests import checkpoints
from tests.prompt_sets import random_prompts
from tests.scoring import problem_of, scored_method, scores_of

NAMES = ["gpt2", "gptj", "gemma2", "olmo2", "native-no-norm"]
PROMPTS = random_prompts(4, 6, checkpoints.VOCAB, seed=5, lengths=[6, 4, 5, 6])


@pytest.fixture(scope="module")
def benches() -> dict[str, Bench]:
    with tempfile.TemporaryDirectory() as folder:
        models = {
            name: load_model(
                f"dir:{checkpoints.EVERY[name](Path(folder) / name)}", dtype="float64", device="cpu"
            )
            for name in NAMES
        }
    return {name: set_up(m.weights, PROMPTS, "corrupted") for name, m in models.items()}


def difference(ours: dict[str, float], theirs: dict[str, float]) -> float:
    """The largest, relative to the largest score."""
    assert ours.keys() == theirs.keys()
    return max(abs(ours[e] - theirs[e]) for e in ours) / max(map(abs, theirs.values()))


@pytest.mark.parametrize("name", ["eap", "eap-ig-inputs", "eap-ig-activations", "clean-corrupted"])
def test_attribution_is_exact_where_the_metric_is_linear_in_what_an_edge_carries(
    benches: dict[str, Bench], name: str
):
    bench = benches["native-no-norm"]
    exact = scores_of("exact", bench)
    ours = scores_of(name, bench)
    # Without norms, nothing but attention patterns bends. The logits are linear in what they read,
    # with the same gradient everywhere, and linear in the values of the last layer's heads, with
    # a gradient that depends on the patterns: at the clean run, those of the clean run.
    linear = {e for e in exact if e.endswith("->logits")}
    if name == "eap":
        linear |= {e for e in exact if e.endswith("<v>") and "->a1." in e}
    assert len(linear) > 4
    largest = max(map(abs, exact.values()))
    assert max(abs(ours[e] - exact[e]) for e in linear) < 1e-12 * largest
    assert max(abs(ours[e] - exact[e]) for e in exact.keys() - linear) > 1e-3 * largest


def objective_at(bench: Bench, final: torch.Tensor, metric: Any) -> float:
    objective = differentiable_objective_for(bench, metric)
    return float(objective(bench.layout.at_answers(final.flatten(0, 1))[None]))


@pytest.mark.parametrize(("name", "metric"), [("gpt2", "logit_diff"), ("gemma2", "kl")])
def test_scores_of_edges_out_of_the_input_sum_to_what_ablating_it_does(
    benches: dict[str, Bench], name: str, metric: Any
):
    bench = benches[name]
    ablated = run_streams(bench.weights, bench.ablated[0]).final
    truth = objective_at(bench, ablated, metric) - objective_at(bench, bench.clean.final, metric)
    errors = []
    for steps in (8, 64):
        scores = scores_of("eap-ig-inputs", bench, metric=metric, steps=steps)
        total = sum(score for edge, score in scores.items() if edge.startswith("input->"))
        errors.append(abs(total - truth))
    # A sum over rectangles: eight times as many leave about an eighth of the error.
    assert errors[1] < errors[0] / 4


@pytest.mark.parametrize("name", ["gptj", "gemma2"])
def test_scores_of_edges_out_of_a_group_sum_to_what_ablating_the_group_does(
    benches: dict[str, Bench], name: str
):
    bench = benches[name]
    topology = bench.weights.topology
    few, many = (scores_of("eap-ig-activations", bench, steps=steps) for steps in (8, 64))
    for group in groups(bench):
        removed = {edge for edge in topology.edges if edge.src in group}
        kept = topology.edge_set - removed
        final = run_circuit(bench.weights, bench.prompts.clean, bench.ablated, kept)
        whole = objective_at(bench, bench.clean.final, "logit_diff")
        truth = objective_at(bench, final, "logit_diff") - whole
        errors = [abs(sum(s[str(e)] for e in removed) - truth) for s in (few, many)]
        # Where the way is straight, a few steps are exact already.
        assert errors[1] < max(errors[0] / 4, 1e-12)


def groups(bench: Bench) -> list[set[Node]]:
    """The input, the heads of a layer, an MLP: what moves together."""
    by_kind: dict[tuple[Any, str], set[Node]] = {}
    for node in bench.weights.topology.sources:
        by_kind.setdefault((node.layer, node.kind), set()).add(node)
    return list(by_kind.values())


@pytest.mark.parametrize("name", NAMES)
def test_changed_streams_are_those_of_a_circuit_without_the_sources_edges(
    benches: dict[str, Bench], name: str
):
    bench = benches[name]
    topology = bench.weights.topology
    clean = streams_from_outputs(bench.weights, bench.clean)
    torch.testing.assert_close(
        run_streams(bench.weights, bench.clean.outputs[0]).final,
        clean.final,
        rtol=1e-10,
        atol=1e-10,
    )
    for row, source in enumerate(topology.sources):
        change = bench.ablated[row] - bench.clean.outputs[row]
        ours = changed_streams(bench.weights, clean, source, torch.stack([change, 0 * change]))
        kept = {edge for edge in topology.edges if edge.src != source}
        theirs = run_circuit(bench.weights, bench.prompts.clean, bench.ablated, kept)
        expected = torch.cat([theirs, clean.final])
        torch.testing.assert_close(ours.final, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    method=st.sampled_from(sorted(SCORED_METHODS)),
    memory=st.integers(1, 300_000),
)
def test_scores_do_not_depend_on_how_much_memory_there_is(
    benches: dict[str, Bench], name: str, method: str, memory: int
):
    bench = benches[name]
    plenty = scores_of(method, bench, steps=2)
    little = scores_of(method, bench, steps=2, memory=memory)
    assert difference(little, plenty) < 1e-9


@pytest.mark.parametrize("method", SCORED_METHODS)
def test_scores_are_the_same_again_to_the_bit(benches: dict[str, Bench], method: str):
    bench = benches["gpt2"]
    assert scores_of(method, bench, seed=3) == scores_of(method, bench, seed=3)


@pytest.mark.parametrize("method", ["random", "edge-pruning", "subnetwork-probing", "node-pruning"])
def test_scores_that_are_drawn_differ_between_seeds(benches: dict[str, Bench], method: str):
    bench = benches["gpt2"]
    assert scores_of(method, bench, seed=3) != scores_of(method, bench, seed=4)


@pytest.mark.parametrize("method", SCORED_METHODS)
def test_scoring_tells_how_far_it_is_and_ends_at_the_whole(benches: dict[str, Bench], method: str):
    told: list[float] = []
    problem = problem_of(benches["gpt2"], "logit_diff", memory=1, advance=told.append)
    score_edges(problem, scored_method(method))
    assert told == sorted(told)
    assert told[0] > 0
    assert told[-1] == pytest.approx(1.0)
