"""The line that says how a run was made: every method, with every parameter at its default."""

from __future__ import annotations

import pytest

from acdc_pipeline.cli.views.run import method_text
from acdc_pipeline.specs import METHODS, find_task, method_for

IOI = find_task("ioi")
NEEDED = {"acdc": {"threshold": 0.01}, "eap-ig-acdc": {"threshold": 0.01}}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_described_with_its_default_parameters(name: str):
    method = method_for(name, NEEDED.get(name, {}), IOI, where="test")
    said = method_text(method).split(", ")
    assert said[0] == name
    assert "None" not in " ".join(said)
    assert len(said) == 4 + len(_other_parameters(method.plain()))


def _other_parameters(plain: dict[str, object]) -> list[str]:
    known = {"name", "threshold", "share", "edges", "metric", "ablation"}
    return [name for name, value in plain.items() if name not in known and value is not None]


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("atp-star", {"grad_drop": "none"}, "grad drop none"),
        ("ensemble", {}, "combine mean"),
        ("eap", {"select": "ilp"}, "select ilp"),
        ("eap-exact", {"budget": 1500}, "budget 1500"),
        ("eap", {"rank": "signed"}, "signed"),
    ],
)
def test_values_that_do_not_speak_for_themselves_are_named(
    name: str, given: dict[str, object], said: str
):
    assert said in method_text(method_for(name, given, IOI, where="test")).split(", ")
