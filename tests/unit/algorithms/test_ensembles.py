"""Ensembles recomputed from the scores of their parts, and gates that start from scores."""

from __future__ import annotations

import math

import pytest
import torch

from acdc_pipeline.algorithms.gates import probability_open
from acdc_pipeline.algorithms.warm_start import start_log_alpha
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.models import load_model
from tests import checkpoints
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of
from tests.unit.algorithms.test_attribution_against_oracles import assert_equal

SHARE = 0.3


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    directory = checkpoints.EVERY["gpt2"](tmp_path_factory.mktemp("models") / "gpt2")
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    return set_up(model.weights, random_prompts(3, 6, checkpoints.VOCAB, seed=5), "corrupted")


@pytest.fixture(scope="module")
def parts(bench: Bench) -> list[dict[str, float]]:
    """The scores of the three methods, the largest magnitude 1."""
    found = [
        scores_of("eap", bench),
        scores_of("eap-ig-inputs", bench, steps=2),
        scores_of("eap-ig-activations", bench, steps=2),
    ]
    return [{e: s / max(map(abs, scores.values())) for e, s in scores.items()} for scores in found]


@pytest.mark.parametrize("combine", ["mean", "max", "min"])
def test_ensemble_combines_the_scores_of_three_methods(
    bench: Bench, parts: list[dict[str, float]], combine: str
):
    def by_hand(values: list[float]) -> float:
        return {"mean": sum(values) / 3, "max": max(values), "min": min(values)}[combine]

    expected = {edge: by_hand([scores[edge] for scores in parts]) for edge in parts[0]}
    assert_equal(scores_of("ensemble", bench, points=2, combine=combine), expected)


def test_hybrid_ensemble_adds_the_trained_gates_with_the_signs_of_attribution(
    bench: Bench, parts: list[dict[str, float]]
):
    setting = {"points": 2, "steps": 5, "share": SHARE}
    pruned = scores_of("eap-ig-edge-pruning", bench, **setting)
    gates = {e: min(1, max(0, 1.2 / (1 + math.exp(-a)) - 0.1)) for e, a in pruned.items()}
    largest = max(gates.values())
    signed = {e: math.copysign(gate, parts[1][e]) / largest for e, gate in gates.items()}
    expected = {e: (sum(scores[e] for scores in parts) + signed[e]) / 4 for e in gates}
    assert_equal(scores_of("hybrid-ensemble", bench, **setting), expected)


def test_gates_before_the_first_step_rank_edges_as_the_scores_do(
    bench: Bench, parts: list[dict[str, float]]
):
    gates = scores_of("eap-ig-edge-pruning", bench, points=2, steps=0, share=SHARE)
    magnitude = {edge: abs(score) for edge, score in parts[1].items()}
    assert sorted(gates, key=gates.__getitem__) == sorted(magnitude, key=magnitude.__getitem__)
    assert gates != scores_of("eap-ig-edge-pruning", bench, points=2, steps=1, share=SHARE)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_gates_start_with_the_share_that_is_expected_to_be_open(share: float):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2000, generator=generator, dtype=torch.float64)
    log_alpha = start_log_alpha(scores, share)
    # A mean over 2000 ranks in place of an integral over them.
    assert float(probability_open(log_alpha).mean()) == pytest.approx(share, rel=2e-3)


def test_gates_of_edges_with_equal_scores_start_equal():
    scores = torch.tensor([0.5, -0.5, 1e-12, 0.0, 1.0], dtype=torch.float64)
    log_alpha = start_log_alpha(scores, 0.5)
    assert log_alpha[0] == log_alpha[1]
    assert log_alpha[2] == log_alpha[3]
    # By ranks 2.5, 0.5 and 4 of 4 over the width.
    differences = [float(log_alpha[4] - log_alpha[i]) for i in (0, 2)]
    assert differences == pytest.approx([1.5 / 4 / 0.2, 3.5 / 4 / 0.2])


def test_edges_without_any_effect_have_the_score_0_in_an_ensemble(bench: Bench):
    from dataclasses import replace

    still = replace(bench, ablated=bench.clean.outputs)
    assert set(scores_of("ensemble", still).values()) == {0.0}
