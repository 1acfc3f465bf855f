from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from acdc_pipeline.errors import DamagedRun
from acdc_pipeline.wiki.models import merge_near_misses, merge_roles, primary_metric
from acdc_pipeline.wiki.pages.head_examples import snippet_row
from acdc_pipeline.wiki.profile import Snippet, check_examples, merge_nulls, parse_profile


def document(**more: Any) -> bytes:
    pattern = np.array([[255, 0], [128, 127]], np.uint8)
    role = {
        "head": "a1.h0",
        "role": "induction",
        "on": None,
        "evidence": ["attention"],
        "metric": "induction@1",
        "value": 0.9,
        "rank": 1,
        "of": 4,
    }
    parts = {
        "version": 1,
        "task": "ioi",
        "nulls": {
            "induction@1": [
                {"kind": "shuffled tokens", "low": 0.0, "high": 0.1, "mean": 0.0, "n": 9},
                {"kind": "random weights", "low": 0.0, "high": 0.2, "mean": 0.0, "n": 9},
            ]
        },
        "roles": [role, {**role, "role": "of another version"}],
        "top_tokens": {
            "a1.h0": {"ov": [{"share": 0.5, "source": [" a"], "target": [" b"]}], "qk": []}
        },
        "attention": {
            "texts": [{"side": "clean", "prompt": 0, "start": 0, "tokens": ["x", "y"]}],
            "patterns": {"a1.h0": [base64.b64encode(pattern.tobytes()).decode()]},
        },
        "snippets": {
            "texts": [{"from": "ioi", "tokens": ["x", "y", "z"]}],
            "heads": {"a1.h0": [{"text": 0, "query": 2, "key": 0, "weight": 0.5, "norm": 1.0}]},
        },
        **more,
    }
    return json.dumps(parts).encode()


MISS = {
    "head": "a1.h1",
    "role": "induction",
    "on": None,
    "metric": "induction@1",
    "value": 0.36,
    "line": 0.4,
    "null": 0.06,
    "reason": "below the line",
}


def test_profile_gives_the_nearest_miss_of_each_head_without_a_role():
    misses = [
        MISS,
        {**MISS, "value": 0.39, "metric": "duplicate_token@1", "role": "duplicate_token"},
        {**MISS, "head": "a1.h0"},
        {**MISS, "role": "of another version"},
    ]
    found = parse_profile(document(near_misses=misses, warnings=["too short"]))
    assert found.warnings == ("too short",)
    assert len(found.near_misses) == 3
    # a1.h0 has a role
    nearest = merge_near_misses([found], merge_roles([found]))
    assert {place: miss.role for place, miss in nearest.items()} == {(1, 1): "duplicate_token"}
    assert nearest[1, 1].describe() == "near miss: duplicate_token 0.39, line 0.40, null 0.06"


def test_profile_of_before_there_were_near_misses_has_none():
    found = parse_profile(document())
    assert found.near_misses == found.warnings == ()
    assert found.roles[0].below_line is None


def test_profile_gives_what_was_kept_of_each_head():
    found = parse_profile(document())
    (role,) = found.roles
    assert str(role.node) == "a1.h0"
    assert found.nulls == {"induction@1": 0.2}
    (pattern,) = found.patterns("a1.h0")
    assert pattern.tokens == ("x", "y")
    assert pattern.weights.tolist() == [[255, 0], [128, 127]]
    assert found.patterns("a0.h0") == []
    (snippet,) = found.snippets("a1.h0")
    assert (snippet.source, snippet.query, snippet.key) == ("ioi", 2, 0)
    (direction,) = found.directions("a1.h0")
    assert (direction.circuit, direction.source) == ("ov", (" a",))


@pytest.mark.parametrize(
    ("key", "where"),
    [(0, "further back"), (5, "shown"), (14, "itself"), (16, "shown"), (19, "further on")],
)
def test_snippet_says_where_the_token_looked_at_is_before_or_behind_the_query(key: int, where: str):
    """Of twenty tokens those from 5 to 16 are shown around the query, which is 14."""
    text = {"from": "ioi", "tokens": [f" t{i}" for i in range(20)]}
    one = {"text": 0, "query": 14, "key": key, "weight": 0.5, "norm": 1.0}
    (snippet,) = parse_profile(
        document(snippets={"texts": [text], "heads": {"a1.h0": [one]}})
    ).snippets("a1.h0")
    facts = snippet_row(snippet)
    assert (facts["where"], facts["looked"]) == (where, f" t{key}")
    underlined = [text for text, mark in facts["pieces"] if mark == "key"]
    assert underlined == ([f" t{key}"] if where == "shown" else [])


def test_token_ids_in_a_snippet_are_apart():
    snippet = Snippet("ioi", ("7", "12", "3", "45", "6"), query=2, key=3, weight=0.5)
    pieces = snippet_row(snippet)["pieces"]
    assert "".join(text for text, _ in pieces) == "7 12 3 45 6"
    assert [piece for piece in pieces if piece[1]] == [("3", "query"), ("45", "key")]


@pytest.mark.parametrize(
    "broken",
    [
        {"version": 2},
        {"span_attention": {"spans": ["S1", "END"], "prompts": 4, "weights": {"a1.h0": "AAAA"}}},
        {"roles": [{"head": "a1.h0"}]},
        {"roles": [{"head": "<b>"}]},
        {"nulls": {"induction@1": [{"high": "much"}]}},
        {"attention": {"texts": [], "patterns": {"a1.h0": ["AAAA"]}}},
        {
            "attention": {
                "texts": [{"side": "clean", "tokens": ["x", "y"]}],
                "patterns": {"a1.h0": ["AAAA"]},
            }
        },
        {"snippets": {"texts": [], "heads": {"a1.h0": [{"text": 0}]}}},
        {
            "snippets": {
                "texts": [{"from": "ioi", "tokens": ["x", "y"]}],
                "heads": {"a1.h0": [{"text": 0, "query": 1, "key": 2, "weight": 0.5}]},
            }
        },
        {"top_tokens": None},
        {"attribution": {"version": 1, "heads": {"a1.h0": [{"metric": "sink@1"}]}}},
        {"typical": {"texts": [], "heads": {"a1.h0": [{"texts": []}]}}},
        {
            "typical": {
                "texts": [
                    {"from": "ioi", "at": [0], "tokens": ["x"], "cells": {"sink@1": [[0, 1]]}}
                ],
                "heads": {"a1.h0": [{"texts": [{"text": 0, "query": 0, "value": 1}]}]},
            }
        },
    ],
)
def test_profile_of_another_form_is_called_damaged(broken: dict[str, Any]):
    with pytest.raises(DamagedRun):
        check_examples(parse_profile(document(**broken)))


def test_roles_of_several_profiles_count_once_by_head():
    one, two = parse_profile(document()), parse_profile(document(task="induction"))
    assert {place: [r.role for r in held] for place, held in merge_roles([one, two]).items()} == {
        (1, 0): ["induction"]
    }
    assert merge_nulls([one, two]) == {"induction@1": 0.2}


def test_primary_metric_names_the_task_only_where_the_score_is_one_of_tasks():
    assert primary_metric("induction", "ioi") == "induction@1"
    assert primary_metric("mover", "ioi") == "answer_reading@1:ioi"
