"""Attribution on the engine against automatic differentiation of plain forwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acdc_pipeline.engine import set_up
from acdc_pipeline.models import LoadedModel
from acdc_pipeline.models.bridge import load_bridge
from acdc_pipeline.specs.names import Ablation, MetricName
from tests import checkpoints, tiny_models
from tests.every_class.known import load_patching
from tests.float64 import Float64Throughout
from tests.oracles.edge_gates import EdgeGates, GatedBridge, GatedNative
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of

PROMPTS = random_prompts(3, 6, checkpoints.VOCAB, seed=5)
STEPS = 3

# One of each kind: LayerNorm and biases, parallel blocks, norms after and across heads, rotary
# with one key head for all, bidirectional.
KINDS = [
    "native-ln-pre-mlp", "gptj", "falcon", "gemma2", "olmo2", "native-rms-rotary-gated",
    "native-rms-pre-bidirectional",
]  # fmt: skip
ON_BRIDGE = ["gpt2", "llama"]


def scored(
    model: LoadedModel, name: str, *, ablation: Ablation = "corrupted", **setting: Any
) -> dict[str, float]:
    """Every edge's score by the method called `name`."""
    bench = set_up(model.weights, PROMPTS, ablation)
    return scores_of(name, bench, ablation=ablation, **setting)


def metric_of(name: MetricName, model_logprobs: Tensor) -> Callable[[Tensor], Tensor]:
    """The metric written out for the prompts here, one right and one wrong token each."""
    rows = torch.arange(len(PROMPTS))
    right = torch.tensor([token for (token,) in PROMPTS.correct])
    wrong = torch.tensor([token for (token,) in PROMPTS.incorrect])
    return {
        "logit_diff": lambda lp: -(lp[rows, right] - lp[rows, wrong]).mean(),
        "prob_diff": lambda lp: -(lp[rows, right].exp() - lp[rows, wrong].exp()).mean(),
        "nll": lambda lp: -lp[rows, right].mean(),
        "kl": lambda lp: (model_logprobs.exp() * (model_logprobs - lp)).sum(-1).mean(),
    }[name]


def assert_equal(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert ours.keys() == theirs.keys()
    largest = max(abs(score) for score in theirs.values())
    assert largest > 0
    # Two ways to add up the same products in float64.
    assert max(abs(ours[edge] - theirs[edge]) for edge in ours) < 1e-10 * largest


def assert_all_attributions_agree(model: LoadedModel, oracle: EdgeGates, **setting: Any) -> None:
    assert_equal(scored(model, "eap", **setting), oracle.eap())
    assert_equal(
        scored(model, "eap-ig-inputs", steps=STEPS, **setting), oracle.eap_ig_inputs(STEPS)
    )
    assert_equal(
        scored(model, "eap-ig-activations", steps=STEPS, **setting),
        oracle.eap_ig_activations(STEPS),
    )
    assert_equal(scored(model, "clean-corrupted", **setting), oracle.clean_corrupted())


def gated(directory: Path, model: LoadedModel, ablation: str = "corrupted") -> Any:
    """A plain forward of the model with gates."""
    if directory.name in checkpoints.NATIVE:
        return GatedNative(directory, PROMPTS.clean, PROMPTS.corrupted, ablation)
    if directory.name not in ON_BRIDGE:
        return load_patching(directory, PROMPTS.clean, PROMPTS.corrupted, ablation)
    if model.weights.blocks[0].attention.heads_per_kv > 1:
        directory = checkpoints.ungrouped(directory, directory.with_name("ungrouped"))
    bridge = load_bridge(directory, dtype=torch.float64)
    return GatedBridge(bridge, PROMPTS.clean, PROMPTS.corrupted, ablation)


def loaded(name: str) -> tuple[LoadedModel, Path]:
    return tiny_models.loaded(name, "float64"), tiny_models.folder(name)


@pytest.mark.parametrize("name", ["gpt2", "llama", *checkpoints.NATIVE, *KINDS[1:5]])
def test_attribution_is_the_derivative_of_a_plain_forward(name: str):
    model, directory = loaded(name)
    with Float64Throughout() if name in ON_BRIDGE else nullcontext():
        forward = gated(directory, model)
        oracle = EdgeGates(
            forward, map(str, model.topology.edges), metric_of("logit_diff", torch.empty(0))
        )
        assert_all_attributions_agree(model, oracle)


@pytest.mark.parametrize("ablation", ["zero", "mean"])
@pytest.mark.parametrize("name", ["native-ln-pre-mlp", "gemma2"])
def test_attribution_under_other_ablations_is_the_derivative_too(name: str, ablation: Ablation):
    model, directory = loaded(name)
    forward = gated(directory, model, ablation)
    oracle = EdgeGates(
        forward, map(str, model.topology.edges), metric_of("logit_diff", torch.empty(0))
    )
    assert_all_attributions_agree(model, oracle, ablation=ablation)


@pytest.mark.parametrize("metric", ["kl", "prob_diff", "nll"])
@pytest.mark.parametrize("name", ["native-ln-pre-mlp", "gemma2"])
def test_attribution_of_every_metric_is_the_derivative_too(name: str, metric: MetricName):
    model, directory = loaded(name)
    forward = gated(directory, model)
    edges = [str(edge) for edge in model.topology.edges]
    whole: list[Tensor] = []
    EdgeGates(forward, edges, lambda logprobs: whole.append(logprobs) or logprobs.sum()).value({})
    oracle = EdgeGates(forward, edges, metric_of(metric, whole[0]))
    if metric != "kl":
        assert_equal(scored(model, "eap", metric=metric), oracle.eap())
    ours = scored(model, "eap-ig-inputs", metric=metric, steps=STEPS)
    assert_equal(ours, oracle.eap_ig_inputs(STEPS))
    assert_equal(scored(model, "clean-corrupted", metric=metric), oracle.clean_corrupted())


@pytest.mark.parametrize("name", KINDS)
def test_exact_is_what_removing_each_edge_does_to_a_plain_forward(name: str):
    model, directory = loaded(name)
    plain = gated(directory, model)
    ours = scored(model, "exact", metric="kl", memory=1)
    edges = [str(edge) for edge in model.topology.edges]
    effects = plain.kl_of_all([{edge} for edge in edges])
    assert_equal(ours, dict(zip(edges, effects, strict=True)))
    assert_equal(scored(model, "exact", metric="kl"), ours)


@pytest.mark.parametrize("name", KINDS)
def test_node_exact_is_what_removing_each_node_does_to_a_plain_forward(name: str):
    model, directory = loaded(name)
    plain = gated(directory, model)
    some = [str(node) for node in model.topology.sources if str(node) != "input"]
    removed = [{str(e) for e in model.topology.edges if str(e.src) == node} for node in some]
    nodes = dict(zip(some, plain.kl_of_all(removed), strict=True))
    assert_equal(scored(model, "node-exact", metric="kl"), weaker_ends(model, nodes))


def weaker_ends(model: LoadedModel, nodes: dict[str, float]) -> dict[str, float]:
    """Edges by the smaller magnitude of their ends; the largest of all where there is none."""
    largest = max(nodes.values(), key=abs)
    return {
        str(edge): min(
            (nodes[str(end)] for end in (edge.src, edge.dst) if str(end) in nodes),
            key=abs,
            default=largest,
        )
        for edge in model.topology.edges
    }


@pytest.mark.parametrize("name", KINDS)
def test_node_attribution_is_the_sum_of_the_scores_of_a_nodes_edges(name: str):
    model, _ = loaded(name)
    by_edge = scored(model, "eap")
    nodes: dict[str, float] = {}
    for edge in model.topology.edges:
        if str(edge.src) != "input":
            nodes[str(edge.src)] = nodes.get(str(edge.src), 0.0) + by_edge[str(edge)]
    assert_equal(scored(model, "node-attribution"), weaker_ends(model, nodes))


@pytest.mark.parametrize("name", KINDS)
def test_hisp_is_the_derivative_prompt_by_prompt_within_its_layer(name: str):
    model, directory = loaded(name)
    rows = torch.arange(len(PROMPTS))
    right = torch.tensor([token for (token,) in PROMPTS.correct])
    wrong = torch.tensor([token for (token,) in PROMPTS.incorrect])
    nodes: dict[str, float] = {}
    plain = gated(directory, model)
    for row in rows:
        oracle = EdgeGates(
            plain,
            map(str, model.topology.edges),
            lambda lp, row=row: lp[row, wrong[row]] - lp[row, right[row]],
        )
        by_edge = oracle.eap()
        for node in model.topology.sources[1:]:
            total = sum(s for edge, s in by_edge.items() if edge.startswith(f"{node}->"))
            nodes[str(node)] = nodes.get(str(node), 0.0) + abs(total)
    layers = [
        [str(node) for node in model.topology.sources if node.layer == layer]
        for layer in range(model.topology.n_layers)
    ]
    norms = {node: sum(nodes[n] ** 2 for n in layer) ** 0.5 for layer in layers for node in layer}
    expected = weaker_ends(model, {node: value / norms[node] for node, value in nodes.items()})
    assert_equal(scored(model, "hisp"), expected)
