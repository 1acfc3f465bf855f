"""Plans of evaluations: which parts a scope has."""

from __future__ import annotations

import pytest

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.workflows.evaluation_plan import PARTS, evaluation_plan


def test_scope_basic_is_part_of_full():
    assert evaluation_plan("basic").parts < evaluation_plan("full").parts == set(PARTS)


@pytest.mark.parametrize("scope", ["nonsense", "Basic", ""])
def test_unknown_scope_is_refused_and_not_the_most_expensive_one(scope: str):
    with pytest.raises(UnknownName, match="unknown scope") as caught:
        evaluation_plan(scope)
    assert caught.value.allowed == "basic, full"
