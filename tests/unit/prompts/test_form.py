"""Texts with holes: cutting, filling, and what stands around a hole."""

from __future__ import annotations

import pytest

from acdc_pipeline.prompts.form import Context, Form, join_answer, last_words


def test_form_filled_gives_the_text_with_words_in_its_holes():
    form = Form.parse("Then, {A} and {B} left. {A} {{waved}} to")
    assert form.holes == ("A", "B", "A")
    assert form.fill({"A": "Ann", "B": "Tom"}) == "Then, Ann and Tom left. Ann {waved} to"


def test_form_contexts_hold_two_words_before_the_space_and_one_word_behind():
    form = Form.parse("When all of {A} and {B}, at\n{A} left")
    assert form.contexts("A") == [Context("all of", " ", " and"), Context(", at\n", "", " left")]
    assert form.contexts("B") == [Context(" and", " ", ",")]


def test_form_context_at_both_ends_of_a_text_is_empty():
    assert Form.parse("{A}").contexts("A") == [Context("", "", "")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ""), ("one", "one"), ("one two", "one two"), ("a b c", "b c"), ("a b\n c ", "b\n c ")],
)
def test_last_words_are_at_most_two(text: str, expected: str):
    assert last_words(text) == expected


@pytest.mark.parametrize(
    ("prompt", "answer", "expected"),
    [
        ("gave a drink to", "Mary", " Mary"),
        ("gave a drink to", " Mary", " Mary"),
        ("Answer:", "yes", " yes"),
        ("in the year", "1732", " 1732"),
        ("from 1732 to 17", "58", "58"),
        ("f(", "x", "x"),
        ("gave a drink to ", "Mary", "Mary"),
    ],
)
def test_answer_gets_the_space_that_parts_two_words(prompt: str, answer: str, expected: str):
    assert join_answer(prompt, answer) == expected
