"""Conductance against automatic differentiation of a plain forward, and against the chain rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.forward import run_streams
from acdc_pipeline.evaluation import differentiable_objective_for
from acdc_pipeline.graph import Edge
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts.spans import spans_from_names, with_answers
from tests import checkpoints
from tests.oracles.edge_gates import GatedNative, Gates
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of
from tests.unit.algorithms.test_attribution_against_oracles import (
    PROMPTS,
    assert_equal,
    metric_of,
    scored,
)

ROWS = [["one", "two", "one", "two", "END"], ["two", "two", "one", "one", "END"]]


def written(forward: GatedNative, gates: Gates) -> dict[str, torch.Tensor]:
    forward.gates = gates
    with torch.no_grad():
        found = forward.run(forward.clean, set())[1]
    forward.gates = None
    return found


def by_autograd(forward: GatedNative, edges: list[str], steps: int) -> dict[str, float]:
    """The trapezoidal rule over outputs and gradients of a plain forward."""
    metric = metric_of("logit_diff", torch.empty(0))
    clean = forward.clean_outputs()
    full = {name: forward.ablated[name] - out for name, out in clean.items()}
    points = [
        written(forward, Gates(full, {"input": 1 - k / steps}, edges)) for k in range(steps + 1)
    ]
    for k, point in enumerate(points):
        point["input"] = clean["input"] + (1 - k / steps) * full["input"]
    total = dict.fromkeys(edges, 0.0)
    for k in range(steps + 1):
        before, after = points[max(k - 1, 0)], points[min(k + 1, steps)]
        change = {name: (before[name] - after[name]) / 2 for name in clean}
        # Of how many of its changes `input` has moved, which is a part of the way.
        part = (min(k + 1, steps) - max(k - 1, 0)) / 2 / steps
        gates = Gates(change, {"input": (1 - k / steps) / part}, edges)
        for edge, value in gates.derivatives(metric(forward.gated(gates))).items():
            total[edge] += value
    return total


@pytest.mark.parametrize("ablation", ["corrupted", "zero"])
@pytest.mark.parametrize("name", ["native-ln-pre-mlp", "native-rms-rotary-gated"])
def test_conductance_is_the_gradient_times_the_change_of_the_source_along_the_path(
    name: str, ablation: Any, tmp_path: Path
):
    directory = checkpoints.NATIVE[name](tmp_path / name)
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    forward = GatedNative(directory, PROMPTS.clean, PROMPTS.corrupted, ablation)
    edges = [str(edge) for edge in model.topology.edges]
    ours = scored(model, "conductance", ablation=ablation, steps=3)
    assert_equal(ours, by_autograd(forward, edges, 3))


def bench_of(name: str, folder: Path, **changes: Any) -> Bench:
    directory = checkpoints.EVERY[name](folder / name)
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    prompts = replace(random_prompts(2, 5, checkpoints.VOCAB, seed=5), **changes)
    return set_up(model.weights, prompts, "corrupted")


@pytest.mark.parametrize(("name", "metric"), [("gpt2", "logit_diff"), ("gemma2", "kl")])
def test_scores_over_every_cut_sum_to_what_ablating_the_input_does(
    name: str, metric: Any, tmp_path: Path
):
    bench = bench_of(name, tmp_path)
    topology = bench.weights.topology
    objective = differentiable_objective_for(bench, metric)
    both = (run_streams(bench.weights, x).final for x in (bench.ablated[0], bench.clean.outputs[0]))
    ablated, clean = (
        float(objective(bench.layout.at_answers(final.flatten(0, 1))[None])) for final in both
    )
    few, many = (scores_of("conductance", bench, metric=metric, steps=m) for m in (8, 64))
    index = {node: i for i, node in enumerate(topology.sources)}
    depths = {topology.n_sources_of(receiver) for receiver in topology.receivers}
    assert len(depths) > 4

    def crosses(edge: Edge, depth: int) -> bool:
        return index[edge.src] < depth <= topology.n_sources_of(edge.receiver)

    for depth in depths:
        cut = [str(edge) for edge in topology.edges if crosses(edge, depth)]
        errors = [abs(sum(s[edge] for edge in cut) - (ablated - clean)) for s in (few, many)]
        # The trapezoidal rule: eight times as many intervals leave a 64th of the error.
        assert errors[1] < errors[0] / 32
        assert errors[1] < 1e-2 * abs(ablated - clean)


def test_scores_in_spans_sum_to_those_without(tmp_path: Path):
    whole = scores_of("conductance", bench_of("gpt2", tmp_path))
    prompts = random_prompts(2, 5, checkpoints.VOCAB, seed=5)
    spans = with_answers(spans_from_names(ROWS, 5), prompts.answer_row, prompts.answer_pos)
    parts = scores_of("conductance", bench_of("gpt2", tmp_path, spans=spans))
    total = dict.fromkeys(whole, 0.0)
    for edge, score in parts.items():
        total[edge.partition("@")[0]] += score
    assert_equal(total, whole)
