"""Prompts about years: which are drawn, and the two sets of answers."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import is_held_out, make_prompts
from acdc_pipeline.prompts.make import make_pairs
from acdc_pipeline.specs import TaskSpec, parse
from tests.tokenizers import decoded, gpt2_tokenizer, word_tokenizer

DIGITS = [f"{year:02}" for year in range(100)]


def year_tokenizer(*whole: str, digits: list[str] = DIGITS) -> PreTrainedTokenizerBase:
    """Words and pairs of digits with their space; the years in `whole` are one token each."""
    tokens = ["<unk>", "<bos>", "The", " war", " siege", " went", " from", " to", *digits]
    tokens += [f" {century}" for century in DIGITS] + [f" {year}" for year in whole]
    tokenizer = Tokenizer(WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    known = "|".join(f" {year}" for year in whole)
    pieces = rf"{known + '|' if known else ''} ?[A-Za-z]+| ?[0-9]{{1,2}}"
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pieces), behavior="isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<bos>")


def later(**changes: Any) -> TaskSpec:
    generator = {
        "kind": "years",
        "bos": True,
        "templates": ["The {noun} went from {century}{year} to {century}"],
        "nouns": "events",
        "words": {"events": ["war", "siege"]},
        "centuries": [16, 17],
        "starts": [2, 98],
        "corrupted": {"year": 1},
    }
    data = {
        "name": "later",
        "title": "t",
        "behaviour": "b",
        "source": {"paper": "p"},
        "generator": generator | changes,
        "metrics": {"discovery": "prob_diff", "report": []},
    }
    return parse(data, TaskSpec, "task.yaml")


def spoken(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> list[str]:
    return [decoded(tokenizer, token) for token in ids]


def test_correct_are_all_years_after_the_first_and_incorrect_all_others():
    tokenizer = year_tokenizer()
    made = make_prompts(later(centuries=[17, 17], starts=[32, 32]), tokenizer, n=2, seed=0)
    for row in range(2):
        assert made.clean_text[row].endswith(" went from 1732 to 17")
        assert made.corrupted_text[row] == made.clean_text[row].replace("1732", "1701")
        assert spoken(tokenizer, made.correct[row]) == DIGITS[33:]
        assert spoken(tokenizer, made.incorrect[row]) == DIGITS[:33]
    # <bos> The war went from 17 32 to 17
    assert made.lengths.tolist() == [9, 9]


def test_first_years_are_those_of_the_range_and_never_that_of_the_counterfactual():
    made = make_prompts(later(starts=[0, 2], corrupted={"year": 1}), year_tokenizer(), n=80, seed=0)
    years = {text.split()[4] for text in made.clean_text}
    assert years == {"1600", "1602", "1700", "1702"}


def test_year_that_is_one_token_is_no_first_year_and_stays_an_answer():
    tokenizer = year_tokenizer("1733", "1634")
    spec = later(starts=[33, 34])
    made = make_prompts(spec, tokenizer, n=40, seed=0)
    assert {text.split()[4] for text in made.clean_text} == {"1633", "1734"}
    for right, wrong in zip(made.correct, made.incorrect, strict=True):
        assert spoken(tokenizer, (*wrong, *right)) == DIGITS


def test_century_whose_counterfactual_is_one_token_is_left_out():
    made = make_prompts(later(), year_tokenizer("1601"), n=40, seed=0)
    assert {text.split()[4][:2] for text in made.clean_text} == {"17"}


def test_year_of_one_token_in_every_century_is_answered_by_its_two_digits():
    # in GPT-2's vocabulary " 1600" and " 1700" are tokens, and so is "00"
    made = make_prompts(later(), gpt2_tokenizer(), n=3, seed=0)
    for right, wrong in zip(made.correct, made.incorrect, strict=True):
        assert spoken(gpt2_tokenizer(), (*wrong, *right)) == DIGITS


def test_split_holds_out_first_years():
    made = make_prompts(
        later(words={"events": NOUNS}), year_tokenizer(), n=60, seed=0, split="train"
    )
    years = [text.split()[4] for text in made.clean_text]
    assert not any(map(is_held_out, years))


NOUNS = ["war", "siege"]


def test_every_template_comes_equally_often():
    templates = ["The {noun} went from {century}{year} to {century}"]
    templates += ["The {noun} from {century}{year} went to {century}"]
    made = make_prompts(later(templates=templates), year_tokenizer(), n=10, seed=0)
    assert sorted(made.template) == [0] * 5 + [1] * 5


def test_tokenizer_without_a_pair_of_digits_is_refused_by_name():
    tokenizer = year_tokenizer(digits=DIGITS[:57] + DIGITS[58:])
    with pytest.raises(PromptError) as raised:
        make_prompts(later(), tokenizer, n=1, seed=0)
    assert raised.value.field == "generator.kind"
    assert "'57' is not one token" in raised.value.problem
    assert "00 to 99" in str(raised.value.allowed)


def test_tokenizer_of_whole_years_is_refused():
    tokenizer = word_tokenizer(["The", "war", "went", "from", "to", "17", *DIGITS])
    with pytest.raises(PromptError, match="no first year is left of 1602 to 1798"):
        make_prompts(later(), tokenizer, n=1, seed=0)


def test_range_without_a_first_year_of_two_tokens_says_what_to_change():
    with pytest.raises(PromptError) as raised:
        make_prompts(
            later(starts=[33, 33], centuries=[17, 17]), year_tokenizer("1733"), n=1, seed=0
        )
    assert raised.value.field == "generator.starts"
    assert "no first year is left of 1733 to 1733" in raised.value.problem
    assert "generator.starts" in str(raised.value.fix)


def test_prompts_of_a_smaller_set_are_the_first_of_a_larger_one():
    few, many = (make_pairs(later(), year_tokenizer(), n=n, seed=4, split="all") for n in (3, 8))
    assert many[:3] == few
