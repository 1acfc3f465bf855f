"""Bootstrap resamples: a prompt drawn several times counts so often, and is computed once."""

from __future__ import annotations

import pytest
import torch

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.prompts.prompt_set import pick_rows
from acdc_pipeline.specs import find_task, method_for
from acdc_pipeline.workflows.stability import resampled
from tests.support import REPOSITORY

ROWS = [4, 1, 1, 0, 4, 4]
TASK = find_task("induction", REPOSITORY)


@pytest.fixture(scope="module")
def bench() -> Bench:
    model = load_model("zoo:attn-2l", dtype="float64", device="cpu")
    assert model.tokenizer is not None
    prompts = make_prompts(TASK, model.tokenizer, n=6, seed=0)
    return set_up(model.weights, prompts, "corrupted")


@pytest.mark.parametrize("metric", ["kl", "logit_diff", "nll"])
def test_objective_on_a_resample_is_that_on_its_prompts_written_out(bench: Bench, metric):
    method = method_for("acdc", {"threshold": 0.1, "metric": metric}, TASK, where="test")
    run = plan_run(TASK, "zoo:attn-2l", method=method, prompts=6, seed=0, dtype="float64")
    once = resampled(bench, run, ROWS)
    written_out = set_up(bench.weights, pick_rows(bench.prompts, ROWS), "corrupted")
    assert (len(once.prompts), len(written_out.prompts)) == (3, 6)
    values = []
    for part in (once, written_out):
        # As if the logits read the ablated run: far from the clean one.
        final = part.layout.at_answers(part.ablated.sum(0).flatten(0, 1))[None]
        values += [
            objective_for(part, metric)(final),
            differentiable_objective_for(part, metric)(final),
        ]
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-10, atol=1e-10)
