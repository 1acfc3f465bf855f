"""From pairs to tensors: equal lengths, answers of one token, errors that say where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import Pair, align, align_ids
from acdc_pipeline.specs import find_task
from tests.tokenizers import gpt2_tokenizer, token_ids, word_tokenizer


def pair(**changes: object) -> Pair:
    parts = {
        "clean": "John gave a drink to",
        "corrupted": "Mark gave a drink to",
        "correct": (" Mary",),
        "incorrect": (" John",),
    }
    return Pair(**(parts | changes))  # pyright: ignore[reportArgumentType]


def problem_of(bad: Pair, *, bos: bool = False) -> str:
    with pytest.raises(PromptError) as caught:
        align([pair(), bad], gpt2_tokenizer(), bos=bos, name="task 'x'")
    return str(caught.value)


def test_prompts_of_different_length_are_padded_on_the_right_and_read_at_their_ends():
    tokenizer = word_tokenizer(["a", "b", "c", "d"])
    a, b, c, d, first = token_ids(tokenizer, "a", "b", "c", "d", "<bos>")
    made = align(
        [Pair("a b", "b b", ("c",), ()), Pair("a b c", "b b c", ("d", "a"), ("b",))],
        tokenizer,
        bos=True,
        name="x",
    )
    assert made.lengths.tolist() == [3, 4]
    assert made.clean[0, :3].tolist() == [first, a, b]
    assert made.clean[1].tolist() == [first, a, b, c]
    assert made.corrupted[1].tolist() == [first, b, b, c]
    assert made.answer_row.tolist() == [0, 1]
    assert made.answer_pos.tolist() == [2, 3]
    assert made.correct == ((c,), (d, a))
    assert made.incorrect == ((), (b,))
    assert made.clean_text == ("a b", "a b c")


def test_token_ids_are_taken_as_they_are_without_bos():
    made = align([Pair((5, 6), (7, 6), (8,), (9,))], gpt2_tokenizer(), bos=True, name="x")
    assert torch.equal(made.clean, torch.tensor([[5, 6]]))
    assert (made.correct, made.incorrect) == (((8,),), ((9,),))


def test_text_answer_behind_token_ids_is_one_token_of_its_own():
    made = align([Pair((5, 6), (7, 6), (" Mary",), ())], gpt2_tokenizer(), bos=False, name="x")
    assert made.correct == ((5335,),)


def test_sides_of_unequal_length_are_named_with_prompt_lengths_and_texts():
    message = problem_of(pair(corrupted="Abigail gave a drink to"))
    assert message.startswith("task 'x', prompt 2: the sides differ in length: clean 5 tokens")
    assert "'John gave a drink to'" in message
    assert "corrupted 7 ('Abigail gave a drink to')" in message


def test_pair_from_a_file_is_named_by_its_place_there():
    bad = pair(corrupted="Mark gave", where="mine.jsonl: pair 7")
    assert problem_of(bad).startswith("mine.jsonl: pair 7: the sides differ")


def test_answer_of_several_tokens_shows_its_pieces():
    message = problem_of(pair(incorrect=(" Abigail",)))
    assert message.startswith("task 'x', prompt 2: incorrect: ' Abigail' is 3 tokens")
    assert "' Ab' 'ig' 'ail'" in message


def test_answer_that_merges_with_the_prompt_shows_what_they_become():
    message = problem_of(pair(clean="in 19", corrupted="in 20", correct=("84",)))
    assert "correct: '84' merges with the end of the prompt: 'in' ' 1984'" in message


def test_prompt_that_ends_in_a_space_is_an_error_that_says_so():
    message = problem_of(pair(clean="John went to ", corrupted="Mark went to ", correct=("Mary",)))
    assert "end no prompt with a space" in message


def test_answer_outside_the_vocabulary_is_an_error():
    with pytest.raises(PromptError, match="' c' is not in the vocabulary"):
        align([Pair("a", "b", ("c",), ())], word_tokenizer(["a", "b"]), bos=True, name="x")


def test_words_the_tokenizer_does_not_know_are_named():
    with pytest.raises(PromptError, match=r"prompt 1: corrupted: .* does not know 'z' in 'a z'"):
        align([Pair("a b", "a z", ("b",), ())], word_tokenizer(["a", "b"]), bos=True, name="x")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (pair(clean="", corrupted=""), "clean: is empty"),
        (pair(clean=(5, 50257), corrupted=(5, 6)), "clean: 50257 is not a token id"),
        (pair(clean=(5, 6), corrupted=(-1, 6)), "corrupted: -1 is not a token id"),
        (pair(correct=(70000,)), "correct: 70000 is not a token id"),
        (pair(correct=()), "correct: has no answer"),
    ],
)
def test_impossible_pair_is_an_error_that_names_the_side(bad: Pair, message: str):
    assert message in problem_of(bad)


def test_no_prompts_at_all_is_an_error():
    with pytest.raises(PromptError, match="task 'x': has no prompts"):
        align([], gpt2_tokenizer(), bos=False, name="task 'x'")


def test_answer_that_is_correct_and_incorrect_is_refused():
    made = word_tokenizer(["a", "b", "c"])
    (c,) = token_ids(made, "c")
    both: list[tuple[tuple[Any, ...], tuple[Any, ...], bool]] = [
        ((c,), ((c,),), False),
        (("c",), (" c",), False),
        (("a", "c"), ("b", c), False),
        (((c, c),), (" c c",), True),
    ]
    for correct, incorrect, whole in both:
        with pytest.raises(PromptError) as caught:
            align([Pair("a", "b", correct, incorrect, whole=whole)], made, bos=False, name="x")
        ids = [c, c] if whole else [c]
        assert str(caught.value) == (
            f"x, prompt 1: incorrect: the answer of token ids {ids} is a correct answer too\n"
            "fix: remove it"
        )


def test_token_of_a_model_without_tokenizer_is_correct_or_incorrect(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"clean": [1], "corrupted": [2], "correct": 5, "incorrect": [[5]]}\n')
    with pytest.raises(PromptError, match=r"x\.jsonl:1: incorrect: the answer of token ids \[5\]"):
        align_ids(find_task(path), vocab=9, n=1, model="x")
