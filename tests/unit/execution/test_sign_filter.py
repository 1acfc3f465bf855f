"""The bootstrap filter of signs, against scores on every resample by itself."""

from __future__ import annotations

import sys

import pytest
import torch

from acdc_pipeline.algorithms import score_edges
from acdc_pipeline.algorithms.sign_filter import SignFilter
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.resample import take_rows, weigh_repeats
from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.execution.sign_filter import filtered_scores
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs import find_task
from acdc_pipeline.specs.methods.scored import EdgeMeanMethod
from tests.command_line import acdc
from tests.scoring import problem_of, scored_method
from tests.support import REPOSITORY

PROMPTS, RESAMPLES, SEED = 6, 40, 3


@pytest.fixture(scope="module")
def bench() -> Bench:
    model = load_model("zoo:attn-2l", dtype="float64", device="cpu")
    assert model.tokenizer is not None
    prompts = make_prompts(find_task("induction", REPOSITORY), model.tokenizer, n=PROMPTS, seed=0)
    return set_up(model.weights, prompts, "corrupted")


def method_of(resamples: int) -> EdgeMeanMethod:
    method = scored_method("eap", sign_filter=resamples)
    assert isinstance(method, EdgeMeanMethod)
    return method


def test_sign_filter_keeps_the_edges_whose_interval_over_resamples_excludes_zero(bench: Bench):
    found = filtered_scores(bench, method_of(RESAMPLES), SEED, 2**30, lambda share: None)
    whole = score_edges(problem_of(bench, "logit_diff"), method_of(0))
    drawn = torch.randint(
        PROMPTS, (RESAMPLES, PROMPTS), generator=torch.Generator().manual_seed(SEED)
    )
    by_edge: dict = {edge: [] for edge in whole}
    for numbers in drawn.tolist():
        resampled = weigh_repeats(numbers, lambda some: take_rows(bench, some))
        for edge, score in score_edges(problem_of(resampled, "logit_diff"), method_of(0)).items():
            by_edge[edge].append(score)
    largest = max(map(abs, whole.values()))
    n_certain = 0
    for edge, values in by_edge.items():
        in_order = sorted(values)
        if any(abs(value) < 1e-6 * largest for value in values):
            continue  # the sign is a matter of rounding
        certain = in_order[1] > 0 or in_order[-2] < 0  # 1 of 40 is the 2.5 % on one side
        assert found[edge] == pytest.approx(whole[edge] if certain else 0, abs=1e-9 * largest)
        n_certain += certain
    assert 0 < n_certain < len(by_edge)


def test_sign_filter_with_fewer_resamples_than_prompts_holds_sums_and_decides_alike():
    scores = torch.randn(100, 30, generator=torch.Generator().manual_seed(0)) + 0.2
    few = SignFilter(100, 30, 60, seed=1)
    for number, row in enumerate(scores):
        few.add(number, row, weight=1.0)
    drawn = torch.randint(100, (60, 100), generator=torch.Generator().manual_seed(1))
    means = torch.stack([scores[numbers].mean(0) for numbers in drawn])
    certain = ((means <= 0).sum(0) <= 1) | ((means >= 0).sum(0) <= 1)
    assert 0 < int(certain.sum()) < 30
    expected = torch.where(certain, scores.double().mean(0), 0.0)
    torch.testing.assert_close(few.certain(), expected)


def test_sign_filter_beyond_the_memory_budget_is_refused(bench: Bench):
    with pytest.raises(OutOfMemoryBudget, match="scores of 6 prompts"):
        filtered_scores(bench, method_of(RESAMPLES), SEED, 1000, lambda share: None)


def test_integer_programs_without_their_solver_are_refused_before_anything_is_scored(
    capsys, store_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    monkeypatch.setattr("acdc_pipeline.execution.problem.score_edges", pytest.fail)
    asked = ("discover", "ioi", "zoo:attn-2l", "--prompts", "2", "--method", "eap")
    refused = acdc(capsys, *asked, "--select", "ilp")
    refused.refuses("solver of integer programs", "acdc-pipeline[ilp]")
