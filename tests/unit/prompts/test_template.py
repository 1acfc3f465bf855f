"""Template prompts: slots, roles, rules and balance, on a tokenizer of whole words."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import PromptSet, is_held_out, make_prompts
from acdc_pipeline.prompts.template import schedule
from acdc_pipeline.specs import TaskSpec, parse
from tests.tokenizers import decoded, gpt2_tokenizer, spaced_word_tokenizer, word_tokenizer

NAMES = ["Mary", "John", "Tom", "Ann", "Sam", "Eve", "Max", "Zoe", "Kim", "Leo"]
PLACES = ["store", "park", "zoo"]
WORDS = word_tokenizer([*NAMES, *PLACES, "Then", "and", "went", "to", "the", "gave", "it", "a"])
ABC = {"A": "fresh", "B": "fresh", "S": "fresh"}


def ioi(
    corrupted: dict[str, str], templates: list[str] | None = None, **changes: object
) -> TaskSpec:
    data = {
        "name": "ioi",
        "title": "t",
        "behaviour": "b",
        "source": {"paper": "p"},
        "generator": {
            "kind": "template",
            "bos": True,
            "templates": templates or ["Then, {A} and {B} went to the {place}. {S} gave it to"],
            "slots": {"A": "names", "B": "names", "place": "places"},
            "words": {"names": NAMES, "places": PLACES},
            "roles": {"S": ["A", "B"], "IO": "other"},
            "corrupted": corrupted,
        },
        "answers": {"correct": "{IO}", "incorrect": "{S}"},
        "metrics": {"discovery": "kl", "report": []},
    }
    return parse(data | changes, TaskSpec, "task.yaml")


def read(text: str) -> tuple[str, str, str, str]:
    """A, B, place and S of a prompt."""
    found = re.fullmatch(r"Then, (\w+) and (\w+) went to the (\w+)\. (\w+) gave it to", text)
    assert found
    return found[1], found[2], found[3], found[4]


def words_of(made: PromptSet, answers: tuple[tuple[int, ...], ...]) -> list[str]:
    return [decoded(WORDS, only) for (only,) in answers]


def test_answers_are_the_name_that_is_not_repeated_and_the_one_that_is():
    made = make_prompts(ioi(ABC), WORDS, n=40, seed=0)
    correct, incorrect = words_of(made, made.correct), words_of(made, made.incorrect)
    for text, right, wrong in zip(made.clean_text, correct, incorrect, strict=True):
        a, b, _, s = read(text)
        assert wrong == s
        assert {right, wrong} == {a, b}


def test_fresh_names_are_three_others_and_the_rest_stays():
    made = make_prompts(ioi(ABC), WORDS, n=40, seed=0)
    for clean, corrupted in zip(made.clean_text, made.corrupted_text, strict=True):
        a, b, place, _ = read(clean)
        x, y, same_place, z = read(corrupted)
        assert len({a, b, x, y, z}) == 5
        assert place == same_place


def test_swapped_role_repeats_the_other_name():
    made = make_prompts(ioi({"S": "swap"}), WORDS, n=10, seed=0)
    for clean, corrupted in zip(made.clean_text, made.corrupted_text, strict=True):
        a, b, place, s = read(clean)
        assert read(corrupted) == (a, b, place, b if s == a else a)


def test_swapped_slots_exchange_their_names():
    rules = {"A": "swap", "B": "swap", "S": "keep"}
    made = make_prompts(ioi(rules), WORDS, n=10, seed=0)
    for clean, corrupted in zip(made.clean_text, made.corrupted_text, strict=True):
        a, b, place, s = read(clean)
        assert read(corrupted) == (b, a, place, s)


def test_templates_and_roles_come_in_equal_parts():
    templates = [
        f"Then, {{A}} and {{B}} went{' to' * k} the {{place}}. {{S}} gave it to" for k in range(3)
    ]
    made = make_prompts(ioi(ABC, templates), WORDS, n=24, seed=3)
    first_repeated = [text.split()[1] == text.split(". ")[1].split()[0] for text in made.clean_text]
    counts = Counter(zip(made.template, first_repeated, strict=True))
    assert counts == {(t, r): 4 for t in range(3) for r in (True, False)}


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 1000), st.integers(1, 80))
def test_schedule_is_balanced_after_any_number_of_prompts(
    templates: int, choices: int, seed: int, n: int
):
    turns = [{"S": str(i)} for i in range(choices)]
    drawn = itertools.islice(schedule(random.Random(seed), templates, turns), n)
    counts = Counter((template, choice["S"]) for template, choice in drawn)
    # whole cycles hold every combination once; the last may be unfinished
    cycles = n // (templates * choices)
    assert all(count - cycles in (0, 1) for count in counts.values())
    by_template = Counter(dict.fromkeys(range(templates), 0))
    for (template, _), count in counts.items():
        by_template[template] += count
    assert max(by_template.values()) - min(by_template.values()) <= 1


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(0, 30))
def test_prompts_are_a_prefix_of_more_prompts_and_repeat_with_their_seed(
    seed: int, few: int, more: int
):
    small = make_prompts(ioi(ABC), WORDS, n=few, seed=seed)
    large = make_prompts(ioi(ABC), WORDS, n=few + more, seed=seed)
    assert large.clean_text[:few] == small.clean_text
    assert large.corrupted_text[:few] == small.corrupted_text
    assert large.correct[:few] == small.correct


def test_another_seed_draws_other_prompts_and_another_name_does_not():
    base = make_prompts(ioi(ABC), WORDS, n=20, seed=0)
    assert make_prompts(ioi(ABC), WORDS, n=20, seed=1).clean_text != base.clean_text
    assert make_prompts(ioi(ABC, name="renamed"), WORDS, n=20, seed=0).clean_text == base.clean_text


def test_held_out_words_are_never_in_train_and_alone_in_held_out():
    # of these, sha256 holds out exactly the words that `is_held_out` names
    names = [f"{c}{v}{d}" for c in "BDKLMNRT" for v in "aeiou" for d in "nlm"]
    task = ioi(
        ABC, generator=ioi(ABC).generator.plain() | {"words": {"names": names, "places": names}}
    )
    tokenizer = word_tokenizer([*names, "Then", "and", "went", "to", "the", "gave", "it"])
    train = make_prompts(task, tokenizer, n=300, seed=0, split="train")
    held_out = make_prompts(task, tokenizer, n=300, seed=0, split="held_out")
    drawn = {w for t in (*train.clean_text, *train.corrupted_text) for w in read(t)}
    assert drawn == {name for name in names if not is_held_out(name)}
    drawn = {w for t in (*held_out.clean_text, *held_out.corrupted_text) for w in read(t)}
    assert drawn == {name for name in names if is_held_out(name)}


def test_too_few_names_under_a_tokenizer_is_an_error_naming_task_and_list():
    tokenizer = word_tokenizer(
        [*NAMES[:4], *PLACES, "Then", "and", "went", "to", "the", "gave", "it"]
    )
    with pytest.raises(PromptError, match=r"^task 'ioi': word list 'names': too few words: 4 left"):
        make_prompts(ioi(ABC), tokenizer, n=1, seed=0)


def test_tokenizer_that_marks_spaces_gives_the_same_prompts():
    templates = ["then {A} and {B} went to the {place} and {S} gave it to"]
    words = [*NAMES, *PLACES, "then", "and", "went", "to", "the", "gave", "it"]
    marking = spaced_word_tokenizer(words)
    made = make_prompts(ioi(ABC, templates), marking, n=20, seed=0)
    plain = make_prompts(ioi(ABC, templates), word_tokenizer(words), n=20, seed=0)
    assert made.clean_text == plain.clean_text
    for text, (right,) in zip(made.clean_text, made.correct, strict=True):
        assert text.split().count(decoded(marking, right).strip("▁ ")) == 1


def test_no_prompts_asked_for_is_an_error():
    with pytest.raises(PromptError, match="0 prompts"):
        make_prompts(ioi(ABC), WORDS, n=0, seed=0)


def test_answer_attached_to_the_prompt_needs_no_space():
    years = ["11", "23", "45", "67"]
    data = {
        "name": "years",
        "title": "t",
        "behaviour": "b",
        "source": {"paper": "p"},
        "generator": {
            "kind": "template",
            "bos": False,
            "templates": ["The war lasted from 17{Y} to 17"],
            "slots": {"Y": "years"},
            "words": {"years": years},
            "corrupted": {"Y": "fresh"},
        },
        "answers": {"correct": ["{Y}"], "incorrect": []},
        "metrics": {"discovery": "kl", "report": []},
    }
    made = make_prompts(parse(data, TaskSpec, "task.yaml"), gpt2_tokenizer(), n=8, seed=0)
    for text, (answer,) in zip(made.clean_text, made.correct, strict=True):
        assert decoded(gpt2_tokenizer(), answer) == text.split("from 17")[1][:2]
