"""Prompts from tables, on tokenizers that know exactly the words they are given."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice
from math import lcm

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import PromptSet, is_held_out, make_prompts, word_uses
from acdc_pipeline.prompts.table import schedule
from acdc_pipeline.specs import TaskSpec, parse
from tests.tokenizers import decoded, gpt2_tokenizer, spaced_word_tokenizer, word_tokenizer

CAPITALS = {"France": "Paris", "Italy": "Rome", "Cuba": "Havana", "Peru": "Lima"}
NUMBERS = [("dog", "dogs", "is"), ("dogs", "dog", "are"), ("cat", "cats", "is")]
NOUNS = ["dog", "dogs", "cat", "cats"]
REST = ["The", "capital", "of", "is", "are", "In", "we", "see"]
WORDS = word_tokenizer([*CAPITALS, *CAPITALS.values(), *NOUNS, *REST])


def task(answers: dict[str, object], **generator: object) -> TaskSpec:
    data = {
        "name": "t",
        "title": "t",
        "behaviour": "b",
        "source": {"paper": "p"},
        "generator": {"kind": "table", "bos": True, "corrupted": {"row": "fresh"}} | generator,
        "answers": answers,
        "metrics": {"discovery": "kl", "report": []},
    }
    return parse(data, TaskSpec, "task.yaml")


def capitals(
    templates: tuple[str, ...] = ("The capital of {country} is",), **changes: object
) -> TaskSpec:
    rows = [{"country": country, "capital": capital} for country, capital in CAPITALS.items()]
    values = {"templates": list(templates), "rows": rows, "split": "country"} | changes
    return task({"correct": "{capital}", "incorrect": "{fresh_capital}"}, **values)


def agreement() -> TaskSpec:
    rows = [{"noun": noun, "other": other, "verb": verb} for noun, other, verb in NUMBERS]
    values = {"templates": ["The {noun}"], "rows": rows, "split": "noun"}
    return task({"correct": "{verb}", "incorrect": []}, corrupted={"noun": "other"}, **values)


def answers_of(ids: tuple[tuple[int, ...], ...]) -> list[str]:
    return [" ".join(decoded(WORDS, token) for token in row) for row in ids]


def country(text: str) -> str:
    return text.split()[3]


def test_answers_are_the_rows_own_and_that_of_the_counterfactuals_row():
    made = make_prompts(capitals(), WORDS, n=8, seed=0)
    for clean, corrupted, right, wrong in zip(
        made.clean_text,
        made.corrupted_text,
        answers_of(made.correct),
        answers_of(made.incorrect),
        strict=True,
    ):
        assert clean == f"The capital of {country(clean)} is"
        assert corrupted == f"The capital of {country(corrupted)} is"
        assert country(clean) != country(corrupted)
        assert (right, wrong) == (CAPITALS[country(clean)], CAPITALS[country(corrupted)])


def test_named_column_takes_the_others_place_and_nothing_else_changes():
    made = make_prompts(agreement(), WORDS, n=3, seed=0)
    found = set(zip(made.clean_text, made.corrupted_text, answers_of(made.correct), strict=True))
    assert found == {(f"The {noun}", f"The {other}", verb) for noun, other, verb in NUMBERS}
    assert made.incorrect == ((), (), ())


def test_fresh_row_has_another_answer_and_the_same_group():
    rows = [
        {"word": "dog", "kind": "one", "verb": "is"},
        {"word": "cat", "kind": "one", "verb": "is"},
        {"word": "dogs", "kind": "one", "verb": "are"},
        {"word": "Cuba", "kind": "two", "verb": "is"},
        {"word": "Peru", "kind": "two", "verb": "are"},
        {"word": "Lima", "kind": "three", "verb": "is"},  # alone in its group: never asked
    ]
    values = {"templates": ["The {word}"], "rows": rows, "split": "word", "group": "kind"}
    made = make_prompts(
        task({"correct": "{verb}", "incorrect": "{fresh_verb}"}, **values), WORDS, n=60, seed=0
    )
    met = set(zip(made.clean_text, made.corrupted_text, strict=True))
    by_hand = [("dog", "dogs"), ("dogs", "dog"), ("cat", "dogs"), ("dogs", "cat")]
    by_hand += [("Cuba", "Peru"), ("Peru", "Cuba")]
    assert met == {(f"The {clean}", f"The {fresh}") for clean, fresh in by_hand}


def test_every_template_meets_every_row_once_before_any_comes_again():
    templates = ("The capital of {country} is", "In {country} we see")
    made = make_prompts(capitals(templates), WORDS, n=8, seed=3)
    assert len(set(made.clean_text)) == 8
    assert Counter(made.template) == {0: 4, 1: 4}


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 3))
def test_schedule_any_sizes_every_combination_once_and_prefixes_in_balance(t: int, r: int, s: int):
    turns = list(islice(schedule(random.Random(s), t, r), t * r))
    assert sorted(turns) == [(a, b) for a in range(t) for b in range(r)]
    for k in range(1, lcm(t, r) + 1):
        for side, size in ((0, t), (1, r)):
            counts = Counter(turn[side] for turn in turns[:k])
            assert max(counts.values()) - min(counts.get(i, 0) for i in range(size)) <= 1


def test_prompts_of_a_smaller_set_are_the_first_of_a_larger_one():
    few = make_prompts(capitals(), WORDS, n=5, seed=1)
    many = make_prompts(capitals(), WORDS, n=9, seed=1)
    assert many.clean_text[:5] == few.clean_text
    assert many.corrupted_text[:5] == few.corrupted_text


def test_split_holds_rows_out_on_both_sides():
    held = [str(n) for n in range(40) if is_held_out(str(n))]
    trained = [str(n) for n in range(40) if not is_held_out(str(n))]
    assert len(held) >= 2
    rows = [{"a": str(n), "b": f"w{n}"} for n in range(40)]
    tokenizer = word_tokenizer([*(row["b"] for row in rows), "The", "is"])
    values = {"templates": ["The {b} is"], "rows": rows, "split": "a"}
    spec = task({"correct": "{b}", "incorrect": "{fresh_b}"}, **values)

    def met(made: PromptSet) -> set[str]:
        return {text.split()[1][1:] for text in (*made.clean_text, *made.corrupted_text)}

    assert met(make_prompts(spec, tokenizer, n=200, seed=0, split="held_out")) == set(held)
    assert met(make_prompts(spec, tokenizer, n=200, seed=0, split="train")) == set(trained)


def test_row_with_a_word_the_tokenizer_cuts_is_left_out():
    # behind a space, France, Italy and Paris are one token of GPT-2's each, Accra is three
    rows = [
        {"country": "France", "capital": "Paris"},
        {"country": "Ghana", "capital": "Accra"},
        {"country": "Italy", "capital": "Rome"},
    ]
    made = make_prompts(capitals(rows=rows), gpt2_tokenizer(), n=20, seed=0)
    assert {country(text) for text in made.clean_text} == {"France", "Italy"}


def test_word_uses_name_each_column_that_the_task_uses():
    rows = [{"id": "1", "country": "France", "capital": "Paris"}]
    rows += [{"id": "2", "country": "Italy", "capital": "Rom"}]
    uses = {use.name: use for use in word_uses(capitals(rows=rows, split="id"))}
    assert list(uses) == ["country", "capital"]
    assert uses["capital"].list_usable(WORDS) == ["Paris"]


def test_template_that_ends_with_a_column_asks_for_the_word_behind_a_space():
    tokenizer = spaced_word_tokenizer(["The", "dog", "dogs", "cat", "cats", "is", "are"])
    made = make_prompts(agreement(), tokenizer, n=3, seed=0)
    ids = [token for (token,) in made.correct]
    assert set(tokenizer.convert_ids_to_tokens(ids)) == {"▁is", "▁are"}


def test_table_without_a_usable_row_says_which_word_is_missing():
    rows = [{"country": "France", "capital": "Pari"}, {"country": "Italy", "capital": "Rom"}]
    with pytest.raises(PromptError) as raised:
        make_prompts(capitals(rows=rows), WORDS, n=1, seed=0)
    assert raised.value.field == "generator.rows"
    assert raised.value.problem == (
        "too few rows: 0 left of 2 rows, 2 with different answers needed; 'Pari' in "
        "'capital of Spain is Pari' is not in the vocabulary of this model's tokenizer"
    ).replace("'capital of Spain is Pari'", "' is Pari'")
    assert "one token" in str(raised.value.allowed)


def test_table_whose_rows_share_their_answer_says_what_is_needed():
    rows = [{"country": "France", "capital": "Rome"}, {"country": "Italy", "capital": "Rome"}]
    with pytest.raises(PromptError, match="2 left of 2 rows, 2 with different answers needed"):
        make_prompts(capitals(rows=rows), WORDS, n=1, seed=0)
