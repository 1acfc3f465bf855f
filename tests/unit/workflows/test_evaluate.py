"""Evaluations: what is measured, how much is drawn, and how it is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.evaluation import CurvePoint, Knockout, PartScore, Recovery, Scale
from acdc_pipeline.evaluation.null_size import (
    LEAST_RANDOM_CIRCUITS,
    MOST_RANDOM_CIRCUITS,
    cheap_null,
    circuit_operations,
)
from acdc_pipeline.specs import find_task
from acdc_pipeline.specs.names import COMPARED
from acdc_pipeline.store import StoredEvaluation
from acdc_pipeline.store.evaluation import decode_evaluation, encode_evaluation
from acdc_pipeline.workflows.ablations import Ablated
from acdc_pipeline.workflows.evaluation import Evaluation
from acdc_pipeline.workflows.evaluation_plan import (
    BASIC,
    CHEAP,
    FORWARDS,
    PARTS,
    evaluation_plan,
)
from acdc_pipeline.workflows.measured import Measured, PromptScores
from acdc_pipeline.workflows.stability import Stability, Transfer
from acdc_pipeline.workflows.stored_evaluation import evaluation_figures, evaluation_of
from tests import records
from tests.compiled_bench import compiled_bench
from tests.support import REPOSITORY

CIRCUIT = records.record().circuit
assert CIRCUIT is not None
BARE = Evaluation(
    circuit=CIRCUIT,
    scale=Scale("kl", 0.0, 4.0),
    task_metric="logit_diff",
    metrics={
        "kl": Measured(1.0, 0.0, 4.0, 0.75, (0.5, 0.9), PromptScores((1.0,), (0.0,), (4.0,))),
        "logit_diff": Measured(2.0, 3.0, 0.0, 2 / 3),
        "accuracy": Measured(0.5, 1.0, 0.0, None),
    },
)
WHOLE = replace(
    BARE,
    curve=(
        CurvePoint(0.1, 0, 4.0, 0.0, 4.0, None, (4.0,)),
        CurvePoint(1.0, 3, 1.0, 0.75, 1.0, (0.5, 0.9), (1.0,)),
    ),
    cmd=0.25,
    cpr=0.5,
    cmd_interval=(0.1, 0.3),
    ablations={
        "zero": Ablated({"kl": Measured(2.0, 0.0, 4.0, 0.5, (0.1, 0.6))}, 1),
        "adversarial": Ablated({"kl": Measured(3.0, 0.0, 4.0, 0.25)}, 9, (((1, 2), (0, 1)),)),
    },
    nulls={"kl": (0.1, 0.8), "logit_diff": (0.1, 0.2)},
    knockouts=(Knockout((), 1.0, 0.0, 0.25), Knockout(("a0.h1",), 4.0, 4.0, 0.0)),
    worst=(Knockout(("a0.h1",), 4.0, 3.0, 0.25),),
    needs=(PartScore("a0.h1", 0.75, ()),),
    auc=0.5,
    scrubbing=Recovery("kl", 0.9, 0.8, 1.0, 0.0, 0.4, 4.0, 16, 0.5),
    fresh=0.7,
    stability=Stability(0.9, (3, 4)),
    transfer=Transfer("templates", 3, 0.9, 0.8),
)


@pytest.mark.parametrize("found", [BARE, WHOLE, replace(BARE, unscrubbed="one of each length")])
def test_evaluation_comes_back_from_a_file_as_it_was_measured(found: Evaluation):
    kept = StoredEvaluation("0" * 20, {"seed": 0}, evaluation_figures(found), 1.0, {}, 1000.0)
    data = encode_evaluation(kept)
    read = decode_evaluation(kept.run_id, f"{kept.evaluation_id}.json", data)
    assert read is not None
    assert evaluation_of(read.figures, found.circuit) == found


def test_figures_of_what_was_not_measured_are_none_and_never_zero():
    figures = evaluation_figures(BARE)
    names = ("curve", "cpr", "null", "completeness", "minimality", "stability", "transfer", "auc")
    assert {figures[name] for name in names} == {None}
    first, last = evaluation_figures(WHOLE)["curve"]
    assert set(first.values()) == {0.1, None}
    assert (last["edges"], last["faithfulness"]) == (3, 0.75)


def test_figures_are_all_named_on_the_page_of_data_formats():
    page = (REPOSITORY / "docs" / "data-formats.md").read_text(encoding="utf-8")
    table = page.partition("### evaluations/\n")[2].partition("\n## ")[0]
    assert [name for name in evaluation_figures(WHOLE) if f"`{name}`" not in table] == []


def test_evaluation_compares_with_its_null_in_each_metric():
    assert WHOLE.percentile == WHOLE.percentile_in("kl") == 0.5
    assert WHOLE.percentile_in("logit_diff") == 1.0
    assert WHOLE.percentile_in("accuracy") is None
    assert (BARE.null, BARE.percentile) == ((), None)


def test_effort_amounts_switch_their_parts_on_and_zeros_off():
    assert evaluation_plan("basic").parts == BASIC == {"curve", "null", "ablations"}
    assert evaluation_plan("full").parts == frozenset(PARTS)
    more = evaluation_plan("basic", restarts=1)
    assert (more.parts - BASIC, more.restarts) == ({"worst knockouts"}, 1)
    assert evaluation_plan("basic", draws=2).parts - BASIC == {
        "completeness",
        "minimality",
        "causal scrubbing",
    }
    less = evaluation_plan("full", null=0, resamples=0)
    assert frozenset(PARTS) - less.parts == {"null", "stability", "transfer"}


def test_ablations_are_named_in_one_order_or_all_or_none():
    chosen = evaluation_plan("basic", ablations=["mean", "adversarial", "zero"])
    assert chosen.ablations == ("zero", "mean", "adversarial")
    assert chosen.settings()["forwards"] == FORWARDS
    assert evaluation_plan("full").ablations == COMPARED
    assert "ablations" not in evaluation_plan("full", ablations=["none"]).parts
    # the number of circuits of the search switches it on
    assert evaluation_plan("basic", forwards=7).ablations == (*CHEAP, "adversarial")
    with pytest.raises(UnknownName, match="did you mean 'resample'"):
        evaluation_plan("basic", ablations=["resampled"])


def test_evaluation_of_an_earlier_version_is_read_without_intervals():
    figures = evaluation_figures(WHOLE)
    new = ("faithfulness_interval", "cmd_interval", "cpr_interval", "ablations", "per_prompt")
    old = {
        name: value
        for name, value in figures.items()
        if name not in (*new, "pairs_kept", "pairs_total", "not_exchanged")
    }
    for one in (*old["metrics"].values(), *old["curve"]):
        del one["interval"]
    found = evaluation_of(old, WHOLE.circuit)
    assert (found.cmd, found.cmd_interval, found.ablations) == (0.25, None, None)
    assert found.metrics["kl"] == Measured(1.0, 0.0, 4.0, 0.75)
    assert found.curve is not None
    assert found.curve[1] == CurvePoint(1.0, 3, 1.0, 0.75, 1.0)


def test_effort_settings_name_what_decides_and_nothing_else():
    basic = evaluation_plan("basic").settings()
    assert basic == {
        "parts": ["curve", "null", "ablations"],
        "null": "cheap",
        "draws": None,
        "restarts": None,
        "resamples": None,
        "curve": 2,
        "ablations": ["corrupted", "zero", "mean"],
        "seed": 0,
    }
    # amounts of parts that are left out decide nothing
    assert evaluation_plan("basic", draws=0, null=None).settings() == basic
    assert evaluation_plan("basic", draws=3).settings()["draws"] == 3
    assert evaluation_plan("basic", seed=1).settings() != basic


def test_cheap_null_is_fifty_in_a_small_model_and_never_below_ten():
    bench = compiled_bench("compiled-sum", n=8)
    assert cheap_null(bench) == MOST_RANDOM_CIRCUITS
    # a vocabulary that takes longer than any, by shape alone
    number = torch.empty(1, 1, dtype=torch.float64)
    d_model, vocab = bench.weights.d_model, 1 << 36
    wide = replace(
        bench.weights, w_e=number.expand(vocab, d_model), w_u=number.expand(d_model, vocab)
    )
    assert cheap_null(replace(bench, weights=wide)) == LEAST_RANDOM_CIRCUITS


def test_circuit_operations_count_each_product_twice():
    bench = compiled_bench("compiled-sum", n=8)
    weights, (batch, pos) = bench.weights, bench.prompts.clean.shape
    d_model, vocab = weights.w_u.shape
    by_hand = 2.0 * len(bench.prompts.correct) * d_model * vocab
    for block in weights.blocks:
        attn = block.attention
        matrices = attn.w_q.numel() + attn.w_o.numel()
        # each head reads keys and values from inputs of its own, shared matrices or not
        matrices += (attn.w_k.numel() + attn.w_v.numel()) * attn.heads_per_kv
        scores = 2 * pos * attn.w_q.shape[0] * attn.w_q.shape[2]
        mlp = 0 if block.mlp is None else block.mlp.n_weights
        by_hand += 2.0 * batch * pos * (matrices + scores + mlp)
    by_hand += 2.0 * batch * pos * d_model * weights.topology.n_edges
    assert circuit_operations(bench) == pytest.approx(by_hand)


@pytest.mark.parametrize(("task", "own"), [("ioi", "logit_diff"), ("greater_than", "prob_diff")])
def test_own_metric_of_a_task_is_the_first_that_compares_answers(task: str, own: str):
    assert find_task(task).metrics.own == own


def test_own_metric_of_a_task_that_names_no_other_is_kl():
    metrics = find_task("ioi").metrics
    assert metrics.model_copy(update={"report": ("accuracy",)}).own == "kl"
