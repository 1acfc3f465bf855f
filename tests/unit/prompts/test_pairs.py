"""Prompt pairs from a .jsonl file."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import PromptError, SpecError
from acdc_pipeline.prompts import load_pairs, make_prompts
from acdc_pipeline.prompts.make import export_pairs
from acdc_pipeline.specs import find_task
from tests.tokenizers import gpt2_tokenizer

GOOD = (
    '{"clean": "John gave a drink to", "corrupted": "Mark gave a drink to",'
    ' "correct": " Mary", "incorrect": [" John", " Mark"]}\n'
    "\n"
    '{"clean": [5, 6], "corrupted": [7, 6], "correct": 8, "incorrect": []}\n'
    '{"clean": "One two", "corrupted": "Two two", "correct": ["three", 4], "incorrect": []}\n'
)


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.jsonl"
    path.write_text(text)
    return path


def test_pair_file_gives_its_pairs_in_order_with_texts_ids_and_lists(tmp_path: Path):
    made = make_prompts(find_task(write(tmp_path, GOOD)), gpt2_tokenizer(), n=3, seed=0)
    tokenizer = gpt2_tokenizer()
    mary, john, mark, three = (
        tokenizer.convert_tokens_to_ids(f"Ġ{w}") for w in ("Mary", "John", "Mark", "three")
    )
    assert made.correct == ((mary,), (8,), (three, 4))
    assert made.incorrect == ((john, mark), (), ())
    assert made.lengths.tolist() == [5, 2, 2]


def test_pair_file_gives_what_it_has_when_more_is_asked_for(tmp_path: Path):
    task = find_task(write(tmp_path, GOOD))
    assert len(make_prompts(task, gpt2_tokenizer(), n=64, seed=0)) == 3
    assert len(make_prompts(task, gpt2_tokenizer(), n=2, seed=0)) == 2


def test_load_pairs_knows_where_each_pair_came_from(tmp_path: Path):
    path = write(tmp_path, GOOD)
    pairs = load_pairs(path)
    assert [pair.where for pair in pairs] == [f"{path}:{line}" for line in (1, 3, 4)]
    assert pairs[1].clean == (5, 6)


def test_unequal_pair_is_named_by_file_and_line(tmp_path: Path):
    bad = GOOD.replace("Mark gave a", "Mark gave Ann a")
    with pytest.raises(PromptError, match=r"^mine\.jsonl:1: the sides differ in length"):
        make_prompts(find_task(write(tmp_path, bad)), gpt2_tokenizer(), n=3, seed=0)


def test_answer_that_no_token_stands_for_is_named_by_its_line_behind_blank_ones(tmp_path: Path):
    path = write(tmp_path, GOOD.replace('"three"', '"of several words"'))
    with pytest.raises(PromptError, match=r"^mine\.jsonl:4: correct: "):
        make_prompts(find_task(path), gpt2_tokenizer(), n=3, seed=0)


def test_line_that_is_not_a_pair_is_named_by_file_and_line(tmp_path: Path):
    with pytest.raises(SpecError, match=r"mine\.jsonl:3"):
        load_pairs(write(tmp_path, GOOD.replace('"clean": [5, 6], ', "")))


def test_split_without_a_pair_is_an_error(tmp_path: Path):
    # of "John gave a drink to" and "Two words", sha256 holds out neither
    line = GOOD.splitlines()[0] + "\n"
    with pytest.raises(PromptError, match="task 'mine': has no prompts"):
        make_prompts(
            find_task(write(tmp_path, line)), gpt2_tokenizer(), n=1, seed=0, split="held_out"
        )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"clean": "a b", "corrupted": "a", "correct": " c", "align": "right"}', "sides"),
        ('{"clean": "a", "corrupted": "b", "correct": " c", "answers": "whole"}', "answers"),
    ],
)
def test_export_of_what_other_files_cannot_say_is_refused(line: str, problem: str, tmp_path: Path):
    task = find_task(write(tmp_path, line))
    with pytest.raises(PromptError, match=f"has {problem} of .*, which the file cannot say"):
        export_pairs(task, gpt2_tokenizer(), n=1, seed=0)


def test_task_aligns_the_sides_of_all_its_pairs(tmp_path: Path):
    write(tmp_path, '{"clean": "a b", "corrupted": "a b c", "correct": " c"}')
    (tmp_path / "task.yaml").write_text(
        "name: t\ntitle: t\nbehaviour: b\nsource: {paper: none}\n"
        "generator: {kind: pairs, bos: false, align: right, file: mine.jsonl}\n"
        "metrics: {discovery: kl, report: [accuracy]}\n"
    )
    made = make_prompts(find_task(tmp_path / "task.yaml"), gpt2_tokenizer(), n=1, seed=0)
    assert made.counterpart is not None
    assert made.counterpart.tolist() == [[0, 2]]
