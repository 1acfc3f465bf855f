"""Prompt files of auto-circuit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs import find_task
from acdc_pipeline.specs.auto_circuit import auto_circuit_document, pair_lines, read_auto_circuit
from acdc_pipeline.specs.pair_lines import read_pairs
from acdc_pipeline.specs.prompt_pair import PromptPair

PROMPT = {
    "clean": "The capital of France is",
    "corrupt": "The capital of Italy is",
    "answers": [" Paris"],
    "wrong_answers": [" Rome", " Milan"],
}
IDS = {"clean": [1, 5, 3], "corrupt": [1, 6, 3], "answers": [9], "wrong_answers": []}


def write(folder: Path, document: Any) -> Path:
    path = folder / "prompts.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_prompt_file_reads_as_pairs_and_labels_of_positions_are_passed_over(tmp_path: Path):
    labels = {"seq_labels": ["The"], "word_idxs": {"country": 3}}
    first, second = read_auto_circuit(write(tmp_path, {**labels, "prompts": [PROMPT, IDS]}))
    assert first == PromptPair(
        clean="The capital of France is",
        corrupted="The capital of Italy is",
        correct=(" Paris",),
        incorrect=(" Rome", " Milan"),
    )
    assert second == PromptPair(clean=(1, 5, 3), corrupted=(1, 6, 3), correct=(9,))


def test_prompt_file_written_from_pairs_is_the_one_they_were_read_from(tmp_path: Path):
    document = {"prompts": [PROMPT, IDS]}
    assert auto_circuit_document(read_auto_circuit(write(tmp_path, document))) == document


def test_imported_pairs_are_a_task(tmp_path: Path):
    pairs = read_auto_circuit(write(tmp_path, {"prompts": [PROMPT, IDS]}))
    path = tmp_path / "prompts.jsonl"
    path.write_text(pair_lines(pairs), encoding="utf-8")
    assert tuple(read_pairs(path).values()) == pairs
    assert find_task(path).name == "prompts"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "prompts: lists no prompts"),
        ({"prompts": []}, "prompts: lists no prompts"),
        ({"prompts": [PROMPT, 3]}, "prompts[1]: 3 is not a prompt pair"),
        ({"prompts": [{**PROMPT, "corrupt": ""}]}, "prompts[0]: corrupted"),
        ({"prompts": [{"clean": "a", "corrupt": "b", "answers": ["c"]}]}, "wrong_answers"),
        ({"prompts": [{**PROMPT, "wrong_answers": [" Paris"]}]}, "is a correct answer too"),
    ],
)
def test_prompt_file_that_holds_something_else_is_refused(document: Any, says: str, tmp_path: Path):
    with pytest.raises(SpecError) as caught:
        read_auto_circuit(write(tmp_path, document))
    assert says in str(caught.value)


def test_prompt_file_that_is_not_json_is_refused(tmp_path: Path):
    path = tmp_path / "prompts.json"
    path.write_bytes(b"\xff{")
    with pytest.raises(SpecError, match="is not JSON"):
        read_auto_circuit(path)
    with pytest.raises(SpecError, match="no such file"):
        read_auto_circuit(tmp_path / "gone.json")
