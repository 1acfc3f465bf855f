"""Scores along the path of the input, against attribution point by point and prompt by prompt."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acdc_pipeline.algorithms.edge_attribution import EdgeAttribution
from acdc_pipeline.algorithms.nested.path_scores import PathScores, path_scores
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.forward import run_sources_from, run_streams
from acdc_pipeline.engine.resample import take_rows
from acdc_pipeline.graph.cut import score_array
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs.catalogue import find_task
from tests.scoring import problem_of
from tests.support import REPOSITORY

POINTS = 2


def bench_of(model: str, task: str, n: int = 5) -> Bench:
    loaded = load_model(f"zoo:{model}", dtype="float64", device="cpu")
    assert loaded.tokenizer is not None
    prompts = make_prompts(find_task(task, REPOSITORY), loaded.tokenizer, n=n, seed=0)
    return set_up(loaded.weights, prompts, "corrupted")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return bench_of("neox-4l", "induction")


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


def test_magnitudes_are_those_of_each_prompt_alone(bench: Bench, found: PathScores):
    n = len(bench.prompts)
    alone = [path_scores(problem_of(take_rows(bench, [i]), "kl"), POINTS) for i in range(n)]
    for name, total in (("inputs", "magnitudes"), ("flows", "flow_magnitudes")):
        expected = sum(np.abs(getattr(one, name)) for one in alone) / n
        np.testing.assert_allclose(getattr(found, total), expected, atol=1e-12)
