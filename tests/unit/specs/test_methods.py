"""Choosing a method: defaults, sizes, and parameters of other methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.errors import InvalidInput, SpecError, UnknownName
from acdc_pipeline.specs import (
    METHODS,
    ProfileMethod,
    TaskSpec,
    circuit_method,
    load_yaml,
    method_for,
    method_label,
)
from acdc_pipeline.specs.methods.scored import RandomMethod
from tests.specs_text import write_task


@pytest.fixture
def task(tmp_path: Path) -> TaskSpec:
    return load_yaml(write_task(tmp_path), TaskSpec)


@pytest.mark.parametrize("name", METHODS)
def test_method_with_its_defaults_names_every_value(name: str, task: TaskSpec):
    needed = {"threshold": 0.1} if "threshold" in METHODS[name].parameters() else {}
    method = method_for(name, needed, task, where="here")
    assert method.model_fields_set == set(METHODS[name].model_fields)
    assert circuit_method(method).ablation == "corrupted"


def test_alias_of_a_method_is_that_method(task: TaskSpec):
    method = method_for("eap-ig", {"steps": 3}, task, where="here")
    assert method == method_for("eap-ig-inputs", {"steps": 3}, task, where="here")
    assert method.name == "eap-ig-inputs"
    assert not {alias for m in METHODS.values() for alias in m.ALIASES} & set(METHODS)


def test_method_without_a_size_has_the_default_share(task: TaskSpec):
    method = method_for("random", {}, task, where="here")
    assert isinstance(method, RandomMethod)
    assert (method.share, method.edges, method.size(1000)) == (0.05, None, 50)


def test_method_with_a_number_of_edges_has_no_share(task: TaskSpec):
    method = method_for("random", {"edges": 7}, task, where="here")
    assert isinstance(method, RandomMethod)
    assert (method.share, method.edges, method.size(1000)) == (None, 7, 7)


def test_method_of_a_tiny_share_keeps_one_edge(task: TaskSpec):
    method = method_for("random", {"share": 1e-6}, task, where="here")
    assert isinstance(method, RandomMethod)
    assert method.size(1000) == 1


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("random", {"share": 0.1, "edges": 5}, "here: --edges: cannot go with a share"),
        ("random", {"share": 0.0}, "here: --share: 0.0 is not greater than 0"),
        ("random", {"share": 1.5}, "here: --share: 1.5 is not at most 1"),
        ("random", {"edges": 0}, "here: --edges: 0 is not at least 1"),
        ("random", {"threshold": 0.1}, "here: --threshold: method 'random' has no such parameter"),
        ("acdc", {"share": 0.1}, "here: --share: method 'acdc' has no such parameter"),
        ("acdc", {}, "here: --threshold: is missing"),
        ("acdc", {"nothing": 1}, "here: --nothing: method 'acdc' has no such parameter"),
        (
            "acdc",
            {"threshold": 0.1, "metric": "kll"},
            "here: --metric: unknown metric 'kll'; did you mean 'kl'?",
        ),
    ],
)
def test_method_with_a_value_that_does_not_fit_names_the_option(
    task: TaskSpec, name: str, values: dict[str, Any], says: str
):
    with pytest.raises(SpecError) as raised:
        method_for(name, values, task, where="here", written=lambda field: f"--{field}")
    assert str(raised.value).splitlines()[0] == says


def test_method_with_a_foreign_parameter_says_what_it_has_and_whose_that_is(task: TaskSpec):
    with pytest.raises(SpecError) as raised:
        method_for("acdc", {"share": 0.1}, task, where="here")
    assert raised.value.allowed == (
        "threshold, metric, ablation, order, difference, consensus, consensus_line"
    )
    assert "random" in (raised.value.fix or "")


def test_consensus_is_stored_with_its_line_and_nothing_of_it_without(task: TaskSpec):
    plain = method_for("acdc", {"threshold": 0.1}, task, where="here")
    assert not [name for name in plain.plain() if "consensus" in name]
    method = method_for("acdc", {"threshold": 0.1, "consensus": 20}, task, where="here")
    assert method.plain() == {**plain.plain(), "consensus": 20, "consensus_line": 0.5}
    assert type(method).from_plain(method.plain()) == method
    for few in (-1, 0, 1):
        with pytest.raises(InvalidInput, match=f"consensus: {few} is too small") as raised:
            method_for("acdc", {"threshold": 0.1, "consensus": few}, task, where="here")
        assert raised.value.allowed == "at least 2"
    with pytest.raises(SpecError, match="consensus_line: is of a consensus"):
        method_for("acdc", {"threshold": 0.1, "consensus_line": 0.9}, task, where="here")


def test_magnitudes_of_grad_drop_have_no_signs_to_rank_by(task: TaskSpec):
    with pytest.raises(InvalidInput, match="those of GradDrop are magnitudes"):
        method_for("atp-star", {"rank": "signed"}, task, where="here")
    with_signs = {"rank": "signed", "grad_drop": "none"}
    assert method_for("atp-star", with_signs, task, where="here").ranking == "signed"


def test_unknown_method_suggests_the_nearest(task: TaskSpec):
    with pytest.raises(UnknownName, match="unknown method 'randon'") as raised:
        method_for("randon", {}, task, where="here")
    assert "did you mean 'random'?" in raised.value.problem


@pytest.mark.parametrize(
    ("name", "values", "label"),
    [
        ("acdc", {"threshold": 0.01}, "acdc 0.01"),
        ("acdc", {"threshold": 1e-05}, "acdc 1e-05"),
        ("acdc", {"threshold": 0.01, "consensus": 20}, "acdc 0.01 x 20"),
        ("eap", {"share": 0.05}, "eap 5%"),
        ("eap", {"share": 1 / 3}, "eap 33.3%"),
        ("eap", {"edges": 60}, "eap 60 edges"),
        ("eap", {"edges": 1}, "eap 1 edge"),
    ],
)
def test_method_label_names_the_size_of_the_circuits(
    task: TaskSpec, name: str, values: dict[str, Any], label: str
):
    assert method_label(method_for(name, values, task, where="here")) == label


def test_method_label_of_a_profile_is_its_name():
    profile = ProfileMethod(name="profile", period=4, sequences=2, tokens=8, text=None)
    assert method_label(profile) == "profile"
