"""Pairs of a file kept as text: the same pairs, and the same hash, as pairs that are parsed."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.prompts.pairs import list_pairs
from acdc_pipeline.specs import PairsGenerator, TaskSpec, find_task, load_yaml
from acdc_pipeline.specs import pair_lines as module
from acdc_pipeline.specs.pair_lines import PairLines, read_pair_lines
from acdc_pipeline.specs.prompt_pair import PromptPair

ROWS: list[dict[str, Any]] = [
    {"clean": "a é", "corrupted": "b", "correct": " c", "incorrect": [" d", 4]},
    {"corrupted": [1], "clean": [5, 6], "correct": 8},
    {"clean": "x", "corrupted": "y", "correct": ["z"], "roles": {"S": "x"}},
    {"clean": "p", "corrupted": "q", "correct": "r", "incorrect": [], "roles": {}},
]
CANONICAL = [
    {"clean": "a é", "corrupted": "b", "correct": [" c"], "incorrect": [" d", 4]},
    {"clean": [5, 6], "corrupted": [1], "correct": [8], "incorrect": []},
    {"clean": "x", "corrupted": "y", "correct": ["z"], "incorrect": []},
    {"clean": "p", "corrupted": "q", "correct": ["r"], "incorrect": []},
]


def write(folder: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    path = folder / "mine.jsonl"
    path.write_text("\n" + "".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def test_lines_are_the_pairs_that_a_parser_makes(tmp_path: Path):
    lines, numbers = read_pair_lines(write(tmp_path))
    expected = tuple(PromptPair.from_plain(row) for row in ROWS)
    assert numbers == (2, 3, 4, 5)
    assert tuple(lines) == lines[:] == expected
    assert lines[-1] == expected[-1]
    assert lines[1:3] == expected[1:3]
    assert lines == expected
    assert lines != expected[:3]
    assert pickle.loads(pickle.dumps(lines)) == lines
    assert repr(lines) == "<4 prompt pairs>"
    with pytest.raises(IndexError):
        lines[4]


@pytest.mark.parametrize("at_once", [1, 3, 4096])
def test_task_hash_is_that_of_the_canonical_json_of_its_pairs(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    task = find_task(write(tmp_path))
    generator = {"kind": "pairs", "bos": False, "pairs": CANONICAL}
    assert task.definition_hash() == digest({"answers": None, "generator": generator})
    assert isinstance(task.generator, PairsGenerator)
    assert isinstance(task.generator.pairs, PairLines)
    again = TaskSpec.from_plain(task.plain())
    assert again == task
    assert again.definition_hash() == task.definition_hash()


def test_options_of_pairs_and_of_the_task_change_the_hash(tmp_path: Path):
    row = {**ROWS[0], "align": "right", "answers": "whole", "bos": "auto"}
    span = {"spans": {"S": {"clean": [1], "corrupted": [0]}}}
    task = find_task(write(tmp_path, [row, {**ROWS[1], **span}]))
    pairs = [
        {**CANONICAL[0], "align": "right", "answers": "whole", "bos": "auto"},
        {**CANONICAL[1], **span},
    ]
    generator = {"kind": "pairs", "bos": False, "pairs": pairs}
    assert task.definition_hash() == digest({"answers": None, "generator": generator})
    (tmp_path / "task.yaml").write_text(
        "name: t\ntitle: t\nbehaviour: b\nsource: {paper: none}\n"
        "generator: {kind: pairs, bos: auto, align: right, answers: whole, file: mine.jsonl}\n"
        "metrics: {discovery: kl, report: [accuracy]}\n"
    )
    in_folder = load_yaml(tmp_path / "task.yaml", TaskSpec)
    own = {**generator, "bos": "auto", "align": "right", "answers": "whole"}
    assert in_folder.definition_hash() == digest({"answers": None, "generator": own})
    made = list_pairs(in_folder.generator, name="t", n=2, split="all")  # pyright: ignore
    assert [(pair.align, pair.whole, pair.bos) for pair in made] == [
        ("right", True, "auto"),
        ("right", True, None),
    ]
    assert made[1].spans == (("S", (1,), (0,)),)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"clean": ""}, "clean"),
        ({"clean": []}, "clean"),
        ({"clean": [True]}, "clean"),
        ({"correct": []}, "correct"),
        ({"correct": True}, "correct"),
        ({"incorrect": [1.5]}, "incorrect"),
        ({"incorrect": " c"}, "' c' is a correct answer too"),
        ({"clean": "\ud800"}, "mine.jsonl:2"),
        ({"other": 1}, "unknown key"),
        ({"align": "left"}, "align: 'left'"),
        ({"spans": {"S": {"clean": [2, 1], "corrupted": [0]}}}, "ascending"),
        ({"spans": {"S": {"clean": [], "corrupted": [0]}}}, "spans"),
        (
            {
                "spans": {
                    "S": {"clean": [1], "corrupted": [0]},
                    "T": {"clean": [1], "corrupted": [1]},
                }
            },
            "token 1 is in another span too",
        ),
    ],
)
def test_line_that_is_not_a_pair_is_refused_by_its_number(changes, problem, tmp_path: Path):
    with pytest.raises(SpecError) as caught:
        read_pair_lines(write(tmp_path, [{**ROWS[0], **changes}]))
    assert "mine.jsonl:2" in str(caught.value)
    assert problem in str(caught.value)


def test_long_file_tells_how_far_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "LOG_EVERY", 0.0)
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    with caplog.at_level(logging.INFO, "acdc_pipeline"):
        read_pair_lines(write(tmp_path, ROWS[1:2] * 3))
    assert caplog.messages == [
        "reading mine.jsonl: 2 lines (34 %)",
        "reading mine.jsonl: 4 lines (100 %)",
    ]
