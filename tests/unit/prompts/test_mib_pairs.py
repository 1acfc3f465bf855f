"""Prompt pairs from rows in the form of MIB's data sets."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from acdc_pipeline.errors import PromptError, UnknownName
from acdc_pipeline.prompts.mib import LEADERBOARD, MIB_MODELS, MIB_TASKS, mib_pairs

ALPHABET = " ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-=?.:"


class Letters:
    """A tokenizer with a token for each character, but ` Ann`, ` Bob`, ` Cal` and ` Xi` are one."""

    eos_token_id = 99
    words: ClassVar = {" Ann": 1, " Bob": 2, " Cal": 3}

    def __init__(self, bos: int | None) -> None:
        self.bos_token_id = bos

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [self.words[text]] if text in self.words else [10 + ALPHABET.index(c) for c in text]


def pairs_of(task: str, rows: list[dict[str, Any]], bos: int | None = 0, most: int | None = None):
    return [pair.plain() for pair in mib_pairs(task, rows, Letters(bos), most)]  # pyright: ignore[reportArgumentType]


def ioi_row(*people: str) -> dict[str, Any]:
    names = dict(zip(("indirect_object", "subject", "random_c"), people, strict=True))
    other = {"prompt": "flipped"}
    return {"prompt": "clean", "metadata": names, "s2_io_flip_counterfactual": other}


def choice(label: list[str], key: int) -> dict[str, Any]:
    return {"prompt": f"q{key}", "choices": {"label": label}, "answerKey": key}


def sum_row(sign: str, label: int, other: int | None) -> dict[str, Any]:
    side = None if other is None else {"prompt": "other", "label": other}
    return {"prompt": f"a{label}", "operator": sign, "label": label, "random_counterfactual": side}


def test_ioi_takes_the_two_names_and_leaves_out_rows_with_names_of_other_lengths():
    rows = [
        ioi_row("Ann", "Zed", "Bob"),
        ioi_row("Ann", "Bob", "Cal"),
        ioi_row("Cal", "Bob", "Ann"),
    ]
    first, second = pairs_of("ioi", rows)
    assert (first["clean"], first["corrupted"], first["bos"]) == ("clean", "flipped", True)
    assert (first["correct"], first["incorrect"]) == ([1], [2])
    assert (second["correct"], second["incorrect"]) == ([3], [2])
    assert pairs_of("ioi", rows, most=1) == [first]


def test_prompts_begin_with_the_end_of_text_token_where_no_other_is_there():
    (pair,) = pairs_of("ioi", [ioi_row("Ann", "Bob", "Cal")], bos=None)
    letters = Letters(None).encode("clean")
    assert pair["clean"] == [99, *letters]
    assert "bos" not in pair


def test_choices_take_the_labels_of_both_sides_without_a_space():
    row = choice(["A", "B", "C", "D"], 1) | {
        "symbol_counterfactual": choice(["W", "X", "Y", "Z"], 1)
    }
    for task in ("mcqa", "arc-easy", "arc-challenge"):
        (pair,) = pairs_of(task, [row])
        assert pair["correct"] == [10 + ALPHABET.index("B")]
        assert pair["incorrect"] == [10 + ALPHABET.index("X")]


def test_arithmetic_takes_rows_of_its_sign_whose_answers_are_one_token():
    rows = [sum_row("+", 7, 3), sum_row("-", 5, 2), sum_row("+", 12, 3), sum_row("+", 4, None)]
    (plus,) = pairs_of("arithmetic-addition", rows)
    (minus,) = pairs_of("arithmetic-subtraction", rows)
    assert (plus["clean"], minus["clean"]) == ("a7", "a5")
    assert minus["incorrect"] == [10 + ALPHABET.index("2")]


def test_rows_of_another_data_set_are_refused_by_number():
    with pytest.raises(PromptError, match="row 2 is not one of MIB's task 'ioi': 's2_io_flip"):
        pairs_of("ioi", [ioi_row("Ann", "Bob", "Cal"), {"prompt": "x"}])
    with pytest.raises(PromptError, match="no row of task 'mcqa' fits"):
        pairs_of("mcqa", [])
    with pytest.raises(UnknownName, match="ioy"):
        pairs_of("ioy", [])


def test_columns_of_the_leaderboard_are_tasks_and_models_that_are_known():
    names = {tuple(name.split("_")) for name in LEADERBOARD}
    assert {task for task, _ in names} == set(MIB_TASKS)
    assert {model for _, model in names} == set(MIB_MODELS.values())
