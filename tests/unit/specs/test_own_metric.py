"""Metrics of one's own as arguments, and their names in specifications."""

from __future__ import annotations

from typing import Any, cast

import pytest

from acdc_pipeline.errors import InvalidInput, SpecError
from acdc_pipeline.specs import AcdcMethod, SweepSpec, parse
from acdc_pipeline.specs.own_metric import (
    Metric,
    check_storable,
    is_metric,
    metric_name,
    own_metric,
)

ACDC = {
    "name": "acdc",
    "threshold": 0.1,
    "metric": "kl",
    "ablation": "corrupted",
    "order": "reverse-heads",
    "difference": "signed",
}


def margin(logprobs: Any, answers: Any) -> Any:
    return logprobs[answers.correct]


def test_metric_of_a_version_is_named_by_both():
    assert Metric("margin", margin, version=2).key == "margin@2"
    assert Metric("margin", margin, version="2.1-b").key == "margin@2.1-b"


def test_plain_function_is_a_metric_of_its_own_name_where_higher_is_better():
    own = own_metric(margin)
    assert own == Metric("margin", margin, version=None, lower_is_better=False, uses="logprobs")
    assert metric_name(margin) == "margin@unversioned"


def test_name_of_a_built_in_metric_is_no_metric_of_ones_own():
    assert own_metric("kl") is None
    assert (metric_name("kl"), metric_name(None)) == ("kl", None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "two words"}, "Metric: name: 'two words' cannot be the name of a metric"),
        ({"name": ""}, "name: '' cannot be"),
        ({"name": "kl"}, "name: 'kl' is a built-in metric"),
        ({"name": "model_margin"}, "name: 'model_margin' begins with a reserved prefix"),
        ({"version": "1@2"}, "version: '1@2' cannot be a version"),
        ({"version": "unversioned"}, "version: 'unversioned' cannot be a version"),
        ({"version": True}, "version: True cannot be a version"),
    ],
)
def test_metric_that_cannot_be_named_is_refused(arguments: dict[str, Any], says: str):
    with pytest.raises(InvalidInput) as caught:
        Metric(**cast("Any", {"name": "margin", "function": margin} | arguments))
    assert caught.value.headline.startswith(says) or says in caught.value.headline


def test_function_without_a_name_is_refused_with_the_fix():
    with pytest.raises(InvalidInput, match=r"a function without a name\nfix: give Metric\('NAME'"):
        own_metric(lambda logprobs, answers: logprobs[answers.correct])


def test_method_takes_a_built_in_metric_or_a_name_with_a_version():
    method = parse(ACDC | {"metric": "margin@1"}, AcdcMethod, "here")
    assert method.metric == "margin@1"
    assert AcdcMethod.from_plain(method.plain()) == method
    assert [is_metric(name) for name in ("kl", "margin@1", "margin", "margin@", "@1", 3)] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("kll", r"unknown metric 'kll'; did you mean 'kl'\?"),
        ("margin@", "unknown metric 'margin@'"),
        (3, "3 is not allowed here"),
        (None, "nothing is not allowed here"),
    ],
)
def test_method_refuses_any_other_metric(metric: Any, says: str):
    with pytest.raises(SpecError, match=f"metric: {says}") as caught:
        parse(ACDC | {"metric": metric}, AcdcMethod, "here")
    assert (caught.value.allowed or "").startswith("kl, logit_diff")


def test_sweep_takes_built_in_metrics_alone():
    entry = {"name": "acdc", "thresholds": [0.1], "metric": "margin@1"}
    sweep = {
        "name": "mine",
        "tasks": ["ioi"],
        "models": ["zoo:attn-2l"],
        "methods": [entry],
        "prompts": 8,
        "seeds": [0],
    }
    with pytest.raises(SpecError, match=r"methods\.0\.metric: unknown metric 'margin@1'"):
        parse(sweep, SweepSpec, "here")


def test_metric_without_a_version_cannot_be_stored():
    check_storable("kl", "here")
    check_storable("margin@1", "here")
    check_storable(None, "here")
    with pytest.raises(InvalidInput, match=r"Metric\('margin', function, version=1\)"):
        check_storable("margin@unversioned", "here")
