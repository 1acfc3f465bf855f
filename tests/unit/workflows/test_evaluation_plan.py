"""Plans of evaluations: which parts a scope has."""

from __future__ import annotations

import pytest

from acdc_pipeline.cli.options import parsers
from acdc_pipeline.errors import InvalidInput, UnknownName
from acdc_pipeline.specs.names import COMPARED
from acdc_pipeline.workflows.evaluation_plan import CHEAP, MAX_DRAWN, PARTS, evaluation_plan


def test_scope_basic_is_part_of_full():
    assert evaluation_plan("basic").parts < evaluation_plan("full").parts == set(PARTS)


def test_amount_above_the_limit_is_refused_as_on_the_command_line():
    assert MAX_DRAWN == parsers.MAX_DRAWN
    with pytest.raises(InvalidInput, match="draws: 100001 is too large"):
        evaluation_plan("basic", draws=MAX_DRAWN + 1)


@pytest.mark.parametrize("scope", ["nonsense", "Basic", ""])
def test_unknown_scope_is_refused_and_not_the_most_expensive_one(scope: str):
    with pytest.raises(UnknownName, match="unknown scope") as caught:
        evaluation_plan(scope)
    assert caught.value.allowed == "basic, full"


@pytest.mark.parametrize(
    ("scope", "ablations", "forwards", "chosen"),
    [
        ("basic", None, 0, CHEAP),
        ("full", None, 0, COMPARED[:-1]),
        ("basic", ["all"], 0, COMPARED[:-1]),
        ("basic", ["adversarial"], 0, ()),
        ("basic", ["zero"], 1, ("zero", "adversarial")),
        ("basic", ["none"], 1, ("adversarial",)),
        ("full", None, 1, COMPARED),
    ],
)
def test_a_number_of_circuits_adds_the_adversarial_ablation_and_0_removes_it(
    scope: str, ablations: list[str] | None, forwards: int, chosen: tuple[str, ...]
):
    plan = evaluation_plan(scope, ablations=ablations, forwards=forwards)
    assert plan.ablations == chosen
    assert ("ablations" in plan.parts) == bool(chosen)
    assert ("forwards" in plan.settings()) == bool(forwards)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("all,none", "'all' stands alone: 'all,none'"),
        ("zero,none", "'none' stands alone: 'zero,none'"),
        ("", "has an empty name: ''"),
        ("zero,", "has an empty name: 'zero,'"),
    ],
)
def test_ablations_that_are_no_list_of_names_are_refused_with_what_is_allowed(
    text: str, problem: str
):
    with pytest.raises(InvalidInput) as caught:
        evaluation_plan("basic", ablations=text.split(","))
    assert caught.value.problem == problem
    assert caught.value.allowed == f"{', '.join(COMPARED)}, separated by commas; or all, or none"
