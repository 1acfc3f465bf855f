"""Spans of prompt pairs: what is accepted, what is refused, and which hashes they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.prompts.pairs import list_pairs
from acdc_pipeline.specs import PairsGenerator, TaskSpec, find_task
from acdc_pipeline.specs.load import parse
from acdc_pipeline.specs.prompt_pair import PromptPair

ROW = {"clean": "a b c", "corrupted": "a d c", "correct": " e"}
BOTH = {"clean": [1, 2], "corrupted": [1]}


def task_of(folder: Path, *rows: dict[str, Any]) -> TaskSpec:
    path = folder / "mine.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return find_task(path)


def test_named_spans_change_the_hash_of_the_spans_and_not_that_of_the_task(tmp_path: Path):
    bare = task_of(tmp_path, ROW, ROW)
    named = task_of(tmp_path, ROW | {"spans": {"S1": [0, 1]}}, ROW | {"roles": {"S": "x"}})
    other = task_of(tmp_path, ROW | {"spans": {"S2": [0, 1]}}, ROW)
    assert bare.definition_hash() == named.definition_hash() == other.definition_hash()
    assert len({bare.spans_hash(), named.spans_hash(), other.spans_hash()}) == 3
    in_memory = TaskSpec.from_pairs([ROW | {"spans": {"S1": [0, 1]}}, ROW])
    assert in_memory.definition_hash() == bare.definition_hash()
    assert in_memory.spans_hash() == named.spans_hash()


def test_spans_that_say_what_corresponds_change_the_hash_of_the_task(tmp_path: Path):
    row = {**ROW, "clean": "a b b c", "spans": {"S": BOTH}}
    task = task_of(tmp_path, row)
    labelled = task_of(tmp_path, {**row, "spans": {"S": BOTH, "END": [3]}})
    assert task.definition_hash() == labelled.definition_hash()
    assert task.definition_hash() != task_of(tmp_path, {**row, "spans": {}}).definition_hash()
    assert isinstance(labelled.generator, PairsGenerator)
    (pair,) = list_pairs(labelled.generator, name="t", n=1, split="all")
    assert pair.spans == (("S", (1, 2), (1,)),)
    assert dict(pair.named) == {"S": (1, 2), "END": (3,)}


def test_spans_survive_the_plain_form_of_a_task(tmp_path: Path):
    task = task_of(tmp_path, ROW | {"spans": {"S": [1]}, "roles": {"S": "x"}}, ROW)
    again = TaskSpec.from_plain(json.loads(json.dumps(task.plain())))
    assert again == task
    assert again.spans_hash() == task.spans_hash()
    assert isinstance(task.generator, PairsGenerator)
    assert task.generator.pairs[0] == PromptPair(
        **{**ROW, "correct": (" e",)}, spans={"S": (1,)}, roles={"S": "x"}
    )


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ("S1", "mine.jsonl:1: spans: 'S1' is not a set of keys and values"),
        ({"S1": "x"}, "spans.S1: 'x' does not fit allowed: named token positions, as in \"S1\""),
        ({"S1": [-1]}, "fix: correct spans.S1.0: -1 is not at least 0"),
        ({"S1": []}, "spans.S1: [] does not fit"),
        ({"S1": [1.5]}, "fix: correct spans.S1.0: 1.5 is not a whole number"),
        ({"S1": [True]}, "spans.S1: [True] does not fit"),
        ({"S1": {**BOTH, "corrupted": [-1]}}, "spans.S1.corrupted.0: -1 is not at least 0"),
        ({"x" * 33: [1]}, "the name of a span has 33 characters allowed: up to 32 fix: give it"),
        ({"S1": [2, 1]}, "spans.S1: is not in ascending order fix: sort it"),
        ({"S1": [1, 1]}, "spans.S1: token 1 is there 2 times fix: keep it once"),
        ({"S1": [1], "S2": [0, 1]}, "spans.S2: token 1 is in another span too"),
        ({"S1": BOTH, "S2": [2]}, "spans.S2: token 2 is in another span too"),
        ({"S 1": [1]}, "spans.S 1: is not the name of a span allowed: letters, digits, and _ . +"),
        ({"S@1": [1]}, "spans.S@1: is not the name of a span"),
    ],
)
def test_spans_that_are_not_valid_are_refused_with_their_name(spans, message):
    with pytest.raises(SpecError) as caught:
        parse({**ROW, "spans": spans}, PromptPair, "mine.jsonl:1")
    assert message in str(caught.value).replace("\n", " ")
