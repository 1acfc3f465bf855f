"""The definitions of scores and roles fit together, and say what pages need."""

from __future__ import annotations

import pytest

from acdc_pipeline.specs.head_scores import (
    EVIDENCE,
    NULLS,
    ROLES,
    SCORES,
    RoleDefinition,
    ScoreDefinition,
    metric_key,
    parse_metric,
)
from acdc_pipeline.specs.methods.text import KEY_KINDS, OF_ROLE
from benchmarks.docs_pages.head_scores import page_text
from tests.support import REPOSITORY

EACH_SCORE = pytest.mark.parametrize("score", SCORES.values(), ids=lambda score: score.name)
WITHOUT_A_PLACE = {
    "copying",
    "suppressing",
    "successor",
    "relation",
    "mover",
    "name_mover",
    "direct_contributor",
    "copy_suppression",
    "s_inhibition",
    "backup_induction",
    "backup_previous_token",
    "backup_duplicate_token",
    "backup_mover",
}
"""Roles that say nothing of where a head looks on any text."""

EACH_ROLE = pytest.mark.parametrize("role", ROLES.values(), ids=lambda role: role.name)


@EACH_SCORE
def test_score_says_everything_a_page_shows(score: ScoreDefinition):
    for text in (score.title, score.claim, score.formula, score.source, score.sign):
        assert text.strip() == text != ""
    assert score.claim.endswith(".")
    assert score.formula.count("{") == score.formula.count("}")
    assert set(score.nulls) <= set(NULLS)
    assert score.low is None or score.high is None or score.low < score.high


@EACH_ROLE
def test_role_is_decided_by_scores_that_exist_and_have_a_null(role: RoleDefinition):
    assert role.required
    for criterion in (*role.required, *role.supporting):
        assert criterion.score in SCORES
        assert criterion.evidence in EVIDENCE
        assert criterion.least > 0
    assert SCORES[role.required[0].score].nulls


def test_role_says_which_kind_of_key_it_is_about_or_is_without_a_place():
    assert not OF_ROLE.keys() & WITHOUT_A_PLACE
    assert OF_ROLE.keys() | WITHOUT_A_PLACE == ROLES.keys(), (
        "add a new role to specs.methods.text.OF_ROLE if it says where a head looks on any text, "
        "otherwise to WITHOUT_A_PLACE"
    )
    assert set(OF_ROLE.values()) <= set(KEY_KINDS)


def test_scores_with_both_signs_have_a_scale_with_zero_in_the_middle():
    assert SCORES["induction"].scale == "sequential"
    assert SCORES["ov_copying"].scale == "diverging"
    assert SCORES["direct_effect"].scale == "diverging"


def test_metric_keys_read_back():
    assert metric_key("induction") == "induction@1"
    assert metric_key("direct_effect", "ioi") == "direct_effect@1:ioi"
    assert parse_metric("induction@1") == ("induction", 1, None)
    assert parse_metric("direct_effect@12:my_task") == ("direct_effect", 12, "my_task")


@pytest.mark.parametrize("key", ["induction", "@1", "induction@", "induction@x", "dla@1:"])
def test_metric_keys_of_another_form_are_refused(key: str):
    with pytest.raises(ValueError, match="name@version"):
        parse_metric(key)


def test_page_is_what_the_definitions_say():
    page = REPOSITORY / "docs" / "head-scores.md"
    assert page.read_text(encoding="utf-8") == page_text(), (
        "python -m benchmarks.docs_pages.head_scores docs/head-scores.md"
    )
