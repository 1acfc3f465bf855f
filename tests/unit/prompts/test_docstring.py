"""Docstring prompts: their form, the answer, and what each counterfactual replaces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import PromptSet, is_held_out, make_prompts
from acdc_pipeline.specs import TaskSpec, parse
from tests.tokenizers import decoded, gpt2_tokenizer, word_tokenizer

SYLLABLES = [f"{c}{v}{d}" for c in "bdklmnrt" for v in "aeiou" for d in "nlm"]
FUNCTIONS, NAMES, NOUNS = SYLLABLES[:20], SYLLABLES[20:100], SYLLABLES[100:]
WORDS = word_tokenizer([*SYLLABLES, "def", "self", "param", '"""', "):", '("', "(self", ":"])
PROMPT = re.compile(
    r'\ndef (\w+)\(self, ([\w, ]+)\):\n    """ (\w+) (\w+) (\w+)\n\n'
    r"    :param (\w+): (\w+) (\w+)\n    :param (\w+): (\w+) (\w+)\n    :param\Z"
)


def docstring(signature: str = "fresh", docs: str = "fresh", **changes: object) -> TaskSpec:
    generator = {
        "kind": "docstring",
        "bos": True,
        "arguments": 6,
        "before": 2,
        "documented": 2,
        "summary_words": 3,
        "description_words": 2,
        "functions": "functions",
        "names": "names",
        "nouns": "nouns",
        "words": {"functions": FUNCTIONS, "names": NAMES, "nouns": NOUNS},
        "corrupted": {"signature": signature, "docstring": docs},
    }
    data = {
        "name": "docstring",
        "title": "t",
        "behaviour": "b",
        "source": {"paper": "p"},
        "generator": generator | changes,
        "metrics": {"discovery": "kl", "report": []},
    }
    return parse(data, TaskSpec, "task.yaml")


def read(text: str) -> tuple[list[str], list[str], list[str]]:
    """Arguments, documented arguments, and all other words of a prompt."""
    found = PROMPT.match(text)
    assert found, text
    other = [found[i] for i in (1, 3, 4, 5, 7, 8, 10, 11)]
    return found[2].split(", "), [found[6], found[9]], other


def answers(made: PromptSet, row: int) -> tuple[str, list[str]]:
    (correct,) = made.correct[row]
    return decoded(WORDS, correct), [decoded(WORDS, token) for token in made.incorrect[row]]


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_next_argument_is_correct_and_the_others_are_incorrect(seed: int):
    made = make_prompts(docstring(), WORDS, n=4, seed=seed)
    for row, text in enumerate(made.clean_text):
        arguments, documented, _ = read(text)
        assert len(set(arguments)) == 6
        assert documented == arguments[2:4]
        assert answers(made, row) == (arguments[4], arguments[:4] + arguments[5:])


@pytest.mark.parametrize(
    ("signature", "docs"), [("fresh", "fresh"), ("fresh", "keep"), ("keep", "fresh")]
)
def test_counterfactual_replaces_the_named_arguments_and_nothing_else(signature: str, docs: str):
    made = make_prompts(docstring(signature, docs), WORDS, n=20, seed=0)
    for clean_text, corrupted_text in zip(made.clean_text, made.corrupted_text, strict=True):
        arguments, documented, other = read(clean_text)
        new_arguments, new_documented, new_other = read(corrupted_text)
        assert new_other == other
        assert (new_arguments[:2], new_arguments[5:]) == (arguments[:2], arguments[5:])
        replaced = [
            *(new_arguments[2:5] if signature == "fresh" else ()),
            *(new_documented if docs == "fresh" else ()),
        ]
        assert len(set(replaced)) == len(replaced)
        assert not set(replaced) & set(arguments)
        assert signature == "fresh" or new_arguments == arguments
        assert docs == "fresh" or new_documented == documented


def test_form_follows_its_numbers():
    task = docstring(arguments=3, before=0, documented=1, summary_words=1, description_words=1)
    (text,) = make_prompts(task, WORDS, n=1, seed=0).clean_text
    assert re.fullmatch(
        r'\ndef \w+\(self, \w+, \w+, \w+\):\n    """ \w+\n\n    :param \w+: \w+\n    :param', text
    )


def test_one_list_for_functions_and_names_never_gives_a_word_twice():
    made = make_prompts(docstring(functions="names"), WORDS, n=100, seed=0)
    for text in made.clean_text:
        arguments, _, other = read(text)
        assert other[0] not in arguments


def test_every_prompt_has_the_same_length_under_gpt2():
    names = [
        "load",
        "size",
        "files",
        "last",
        "key",
        "model",
        "data",
        "text",
        "value",
        "index",
        "count",
    ]
    nouns = ["oil", "column", "piece", "crime", "population", "unit", "dark", "wind", "hair"]
    words = {"functions": ["port", "save"], "names": names, "nouns": nouns}
    made = make_prompts(docstring(words=words), gpt2_tokenizer(), n=50, seed=0)
    assert set(made.lengths.tolist()) == {made.clean.shape[1]}


def test_held_out_words_are_never_in_train_prompts():
    made = make_prompts(docstring(), WORDS, n=200, seed=0, split="train")
    for text in (*made.clean_text, *made.corrupted_text):
        arguments, documented, other = read(text)
        assert not any(map(is_held_out, (*arguments, *documented, *other)))


def test_prompts_are_a_prefix_of_more_prompts():
    few = make_prompts(docstring(), WORDS, n=16, seed=4)
    assert make_prompts(docstring(), WORDS, n=64, seed=4).clean_text[:16] == few.clean_text


def test_too_few_names_for_the_counterfactual_is_an_error():
    # 6 arguments, 3 fresh ones for the signature, 2 for the docstring
    words = {"functions": FUNCTIONS, "names": NAMES[:10], "nouns": NOUNS}
    with pytest.raises(
        PromptError, match=r"word list 'names': too few words: 10 left .* 11 needed"
    ):
        make_prompts(docstring(words=words), WORDS, n=1, seed=0)
