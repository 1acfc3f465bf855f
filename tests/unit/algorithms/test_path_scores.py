"""Scores along the path of the input, against attribution point by point and prompt by prompt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from acdc_pipeline.algorithms.edge_attribution import EdgeAttribution
from acdc_pipeline.algorithms.nested.path_scores import PathScores, path_scores
from acdc_pipeline.algorithms.nodes import edge_scores_of_nodes, scored_outputs
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.forward import run_sources_from, run_streams
from acdc_pipeline.engine.resample import take_rows
from acdc_pipeline.graph import INPUT
from acdc_pipeline.graph.cut import score_array
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.prompts.spans import spans_from_names, with_answers
from acdc_pipeline.specs.catalogue import find_task
from tests.scoring import problem_of
from tests.support import REPOSITORY

POINTS = 2


@pytest.fixture(scope="module", params=["whole prompts", "one span", "two spans"])
def bench(request: pytest.FixtureRequest) -> Bench:
    loaded = load_model("zoo:neox-4l", dtype="float64", device="cpu")
    assert loaded.tokenizer is not None
    task = find_task("induction", REPOSITORY)
    prompts = make_prompts(task, loaded.tokenizer, n=5, seed=0)
    pos = prompts.clean.shape[1]
    first = {"whole prompts": None, "one span": pos, "two spans": pos // 2}[request.param]
    if first is not None:
        rows = [["early" if p < first else "late" for p in range(pos)]] * len(prompts)
        named = spans_from_names(rows, pos)
        spans = with_answers(named, prompts.answer_row, prompts.answer_pos)
        prompts = replace(prompts, spans=spans)
    return set_up(loaded.weights, prompts, "corrupted")


@pytest.fixture(scope="module")
def found(bench: Bench) -> PathScores:
    # So little memory that every prompt is processed alone.
    return path_scores(problem_of(bench, "kl", memory=1), POINTS)


def test_inputs_and_flows_are_attributions_point_by_point(bench: Bench, found: PathScores):
    problem = problem_of(bench, "kl")
    middles = [(k + 0.5) / POINTS for k in range(POINTS)]
    attribution, by_input = EdgeAttribution(problem, points=1), EdgeAttribution(problem, POINTS)
    clean, ablated = bench.clean.outputs[0], bench.ablated[0]

    def embedded(share: float) -> torch.Tensor:
        return ablated + share * (clean - ablated)

    for k, middle in enumerate(middles):
        streams = run_streams(bench.weights, embedded(middle))
        begin, end = (
            run_sources_from(bench.weights, embedded((k + at) / POINTS)).outputs for at in (0, 1)
        )
        by_input.add(streams)
        at_final = attribution.at_final(streams.final)
        attribution.add_prompts(slice(None), streams, at_final, begin - end)
    for values, expected in ((found.inputs, by_input), (found.flows, attribution)):
        of_edges = score_array(bench.weights.topology, expected.scores())
        np.testing.assert_allclose(values, of_edges, atol=1e-12)


@pytest.fixture(scope="module")
def alone(bench: Bench) -> list[PathScores]:
    """The scores on each prompt alone, as shares of the mean over prompts."""
    n = len(bench.prompts)
    return [path_scores(problem_of(take_rows(bench, [i]), "kl"), POINTS) for i in range(n)]


def test_magnitudes_are_those_of_each_prompt_alone(found: PathScores, alone: list[PathScores]):
    expected = sum(np.abs(one.inputs) for one in alone) / len(alone)
    np.testing.assert_allclose(found.magnitudes, expected, atol=1e-12)


def test_nodes_have_the_magnitudes_of_all_their_edges_together(
    bench: Bench, found: PathScores, alone: list[PathScores]
):
    topology = bench.weights.topology
    nodes = dict.fromkeys(scored_outputs(topology), 0.0)
    for one in alone:
        total = dict.fromkeys(nodes, 0.0)
        for edge, value in zip(topology.edges, one.inputs, strict=True):
            if edge.src != INPUT:
                total[edge.src, edge.span] += value
        for output, value in total.items():
            nodes[output] += abs(value) / len(alone)
    expected = edge_scores_of_nodes(topology, nodes, "magnitude")
    np.testing.assert_allclose(found.nodes, score_array(topology, expected), atol=1e-12)
    assert len(set(found.nodes)) > len(nodes) / 2
