"""Runs whose metric is a function of one's own: stored, read without it, and refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acdc_pipeline import Circuit, Metric, build_wiki, discover, evaluate, open_store
from acdc_pipeline.errors import InvalidInput
from tests.command_line import acdc

MODEL = "zoo:attn-2l"


def difference(logprobs: Tensor, answers: Any) -> Tensor:
    return logprobs[answers.correct] - logprobs[answers.incorrect]


def found(metric: Any, method: str = "eap", **settings: Any) -> Any:
    given = {"prompts": 4, "progress": None, "device": "cpu"} | settings
    return discover("induction", MODEL, method=method, metric=metric, **given)


def never(logprobs: Tensor, answers: Any) -> Tensor:
    raise AssertionError("a stored run needs no function")


def test_run_of_a_versioned_metric_is_stored_and_found_again(tmp_path: Path):
    first = found(Metric("difference", difference, version=1), store=tmp_path)
    again = found(Metric("difference", never, version=1), store=tmp_path)
    assert again == first
    assert again.run == first.run
    assert first.run.spec.method.metric == "difference@1"
    assert first.warnings == []
    assert first.metrics["difference@1"] == first.metrics["logit_diff"]
    other = found(Metric("difference", difference, version=2), store=tmp_path)
    assert other.run_id != first.run_id
    assert found("logit_diff", store=tmp_path).edges == first.edges
    assert len(open_store(tmp_path).run_ids()) == 3


def test_stored_run_of_a_metric_that_changed_its_direction_is_not_taken_for_it(tmp_path: Path):
    run = found(Metric("difference", difference, version=1), store=tmp_path)
    with pytest.raises(InvalidInput) as caught:
        found(Metric("difference", difference, version=1, lower_is_better=True), store=tmp_path)
    assert caught.value.headline == (
        "metric 'difference@1': lower_is_better: True is not what it was in run "
        f"{run.run_id[:8]}, False"
    )
    assert caught.value.fix == "give the changed metric another version"


@pytest.mark.parametrize(("method", "size"), [("eap", {}), ("acdc", {"threshold": 0.01})])
def test_search_for_a_faithfulness_takes_no_stored_run_of_the_other_direction(
    tmp_path: Path, method: str, size: dict[str, float]
):
    run = found(Metric("difference", difference, version=1), method, store=tmp_path, **size)
    changed = Metric("difference", never, version=1, lower_is_better=True)
    with pytest.raises(InvalidInput, match="lower_is_better: True is not what it was"):
        found(changed, method, store=tmp_path, faithful=0.9)
    assert open_store(tmp_path).run_ids() == [run.run_id]


def test_metric_without_a_version_is_computed_but_never_stored(tmp_path: Path):
    run = found(difference)
    assert run.warnings == [
        "metric 'difference' has no version: this run cannot be compared with those of other "
        "sessions"
    ]
    assert run.edges == found("logit_diff").edges
    store = open_store(tmp_path, mode="write")
    for attempt in (lambda: found(difference, store=store), lambda: store.commit(run.run)):
        with pytest.raises(InvalidInput, match=r"fix: give Metric\('difference', function, ver"):
            attempt()
    assert store.run_ids() == []


def test_stored_run_is_read_and_drawn_without_the_function_and_not_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = tmp_path / "store"
    run = found(Metric("difference", difference, version=1), store=store)
    found("logit_diff", store=store)
    listed = acdc(capsys, "runs", "list", "--store", store)
    assert "difference@1" in listed.out
    assert "difference@1" in acdc(capsys, "runs", "show", run.run_id, "--store", store).out
    both = acdc(capsys, "runs", "compare", *open_store(store).run_ids(), "--store", store)
    assert both.code == 0
    areas = acdc(capsys, "compare", "--measure", "--store", store, "--device", "cpu", "--json")
    # In the metric of the task, which needs no function.
    assert [row["problem"] for row in areas.document["searches"]] == [None, None]
    page = build_wiki(store, tmp_path / "site", jobs=1).out
    circuits = [path.read_text(encoding="utf-8") for path in page.rglob("*.html")]
    assert any("difference@1" in text for text in circuits)
    acdc(capsys, "evaluate", run.run_id, "--store", store, "--device", "cpu").refuses(
        "'difference@1' is a metric of one's own, and its function is not given here",
        "fix: in Python, give metric=Metric('difference', function, version='1')",
    )
    worth = run.evaluate(null=2, device="cpu")
    assert worth.metrics["difference@1"] == worth.metrics["logit_diff"]
    # Stored now, and thus no longer measured.
    assert acdc(capsys, "evaluate", run.run_id, "--null", "2", "--store", store).code == 0


def test_evaluation_in_a_metric_of_ones_own_is_that_of_its_built_in_twin():
    circuit = Circuit(found("logit_diff").topology, found("logit_diff").edges)
    ours, theirs = (
        evaluate(circuit, "induction", MODEL, metric=metric, prompts=4, null=2, device="cpu")
        for metric in (difference, "logit_diff")
    )
    assert ours.scale.metric == "difference@unversioned"
    assert (ours.faithfulness, ours.null) == (theirs.faithfulness, theirs.null)


def test_every_part_of_an_evaluation_takes_a_metric_of_ones_own():
    own, twin = (
        found(metric).evaluate(scope="full", null=2, draws=1, restarts=0, resamples=2, device="cpu")
        for metric in (Metric("difference", difference, uses="logits"), "logit_diff")
    )
    # Differences of logits and of log-probabilities round differently.
    for part in ("fresh", "cpr", "cmd"):
        assert getattr(own, part) == pytest.approx(getattr(twin, part), rel=1e-4, abs=1e-6)
    assert own.scrubbing is not None
    assert own.scrubbing.recovered == pytest.approx(twin.scrubbing.recovered, rel=1e-4, abs=1e-6)
    assert own.stability is not None
    assert own.stability == twin.stability
    assert own.transfer is not None
    assert (own.transfer.by, own.transfer.edges) == (twin.transfer.by, twin.transfer.edges)
    for half in ("seen", "unseen"):
        assert getattr(own.transfer, half) == pytest.approx(
            getattr(twin.transfer, half), rel=1e-4, abs=1e-6
        )


def test_metric_in_which_the_model_is_worse_than_nothing_is_warned_of():
    run = found(Metric("difference", difference, lower_is_better=True))
    assert re.fullmatch(
        r"'difference' is \S+ for the whole model and \S+ with every edge removed, although the "
        "metric declares that lower is better: check lower_is_better",
        run.warnings[-1],
    )


def whole_batch(logprobs: Tensor, answers: Any) -> Tensor:
    return difference(logprobs, answers).mean()


def as_list(logprobs: Tensor, answers: Any) -> list[float]:
    return difference(logprobs, answers).tolist()


def infinite(logprobs: Tensor, answers: Any) -> Tensor:
    values = difference(logprobs, answers)
    return torch.where(torch.arange(len(values)) == 2, float("inf"), values)


def right(logprobs: Tensor, answers: Any) -> Tensor:
    top = logprobs.argmax(-1, keepdim=True)
    return answers.correct.gather(-1, top).squeeze(-1)


def steps(logprobs: Tensor, answers: Any) -> Tensor:
    return difference(logprobs, answers).sign()


def steep(logprobs: Tensor, answers: Any) -> Tensor:
    return (logprobs[answers.correct] - logprobs[answers.correct].detach()).abs().sqrt()


@pytest.mark.parametrize(
    ("function", "method", "says"),
    [
        (whole_batch, "exact", "'whole_batch@unversioned' returned a tensor of shape ()"),
        (as_list, "exact", "'as_list@unversioned' returned a list"),
        (infinite, "exact", "'infinite@unversioned' is inf for prompt 3"),
        (right, "eap", "'right@unversioned' has no gradient, which this method needs"),
        (right, "edge-pruning", "'right@unversioned' has no gradient, which this method needs"),
        (steps, "eap-ig-inputs", "'steps@unversioned' has gradient 0 wherever this method"),
        (steps, "edge-pruning", "its gradient is 0 wherever gates were trained"),
        (steep, "eap", "'steep@unversioned' has a gradient that is not finite"),
    ],
)
def test_function_that_cannot_be_used_is_refused_with_its_reason(
    function: Callable[..., Any], method: str, says: str
):
    settings = {"steps": 2} if method == "edge-pruning" else {}
    with pytest.raises(InvalidInput) as caught:
        found(function, method, **settings)
    assert says in caught.value.headline
    assert caught.value.allowed or caught.value.fix


def test_metric_without_a_gradient_serves_a_method_without_gradients():
    ours = found(right, "acdc", threshold=0.3)
    theirs = found("accuracy", "acdc", threshold=0.3)
    assert ours.edges == theirs.edges
    assert ours.metrics["right@unversioned"] == theirs.metrics["accuracy"]


def test_function_that_writes_into_its_inputs_changes_nothing_else():
    def destructive(logprobs: Tensor, answers: Any) -> Tensor:
        values = difference(logprobs, answers)
        logprobs.zero_()
        answers.model.zero_()
        answers.correct.zero_()
        return values

    ours, theirs = found(destructive, "exact"), found("logit_diff", "exact")
    assert ours.scores == theirs.scores
    assert ours.metrics["kl"] == theirs.metrics["kl"]
