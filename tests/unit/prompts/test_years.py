"""Prompts about years: which are drawn, and the two sets of answers."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import answer_form, is_held_out, make_prompts
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


def digit_tokenizer(
    digits: str = "0123456789", numbers: str = "[0-9]", *more: str
) -> PreTrainedTokenizerBase:
    """Words with their space; a space before a number, and each of `digits`, are tokens.

    `numbers` is the regular expression by which a number is cut, `more` tokens besides.
    """
    tokens = ["<unk>", "<bos>", "The", " war", " siege", " went", " from", " to", " ", *digits]
    vocabulary = {token: i for i, token in enumerate([*tokens, *more])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    pieces = rf" ?[A-Za-z]+| |{numbers}"
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


def test_tokenizer_of_whole_years_is_refused_as_one_without_pairs_of_digits():
    tokenizer = word_tokenizer(["The", "war", "went", "from", "to", "17", *DIGITS])
    with pytest.raises(PromptError, match="'00' is not one token at the end of ' went from 1600'"):
        make_prompts(later(), tokenizer, n=1, seed=0)


def test_tokenizer_of_three_digits_at_a_time_is_refused_naming_both_forms():
    # Llama 3 writes 1741 as 174 1, where 17 is no token; that 00 to 99 are tokens does not help
    triples = [f"{number:03}" for number in range(1000)]
    tokenizer = digit_tokenizer("0123456789", "[0-9]{1,3}", *DIGITS, *triples)
    with pytest.raises(PromptError) as raised:
        make_prompts(later(), tokenizer, n=1, seed=0)
    assert raised.value.field == "generator.kind"
    assert raised.value.problem == (
        "'00' is not one token at the end of ' went from 1600': ' went' ' from' ' ' '160' '0'"
    )
    assert "00 to 99" in str(raised.value.allowed)
    assert "every digit" in str(raised.value.allowed)


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


@pytest.mark.parametrize(
    ("year", "greater", "smaller"),
    [(41, "56789", "0123"), (10, "23456789", "0"), (19, "23456789", "0"), (89, "9", "01234567")],
)
def test_digit_tokenizer_is_answered_by_the_decade_and_the_equal_digit_is_neither(
    year: int, greater: str, smaller: str
):
    tokenizer = digit_tokenizer()
    made = make_prompts(later(centuries=[17, 17], starts=[year, year]), tokenizer, n=2, seed=0)
    for row in range(2):
        assert made.clean_text[row].endswith(f" went from 17{year} to 17")
        assert made.corrupted_text[row] == made.clean_text[row].replace(f"17{year}", "1701")
        assert spoken(tokenizer, made.correct[row]) == list(greater)
        assert spoken(tokenizer, made.incorrect[row]) == list(smaller)
    # <bos> The war went from _ 1 7 4 1 to _ 1 7, on either side; only 4 and 1 differ, as 0 and 1
    assert made.lengths.tolist() == [14, 14]
    assert made.clean.shape == made.corrupted.shape == (2, 14)
    assert set((made.clean != made.corrupted).nonzero()[:, 1].tolist()) <= {8, 9}


def test_digit_tokenizer_first_years_have_a_digit_below_and_above_their_decade():
    made = make_prompts(later(starts=[0, 98]), digit_tokenizer(), n=2000, seed=0)
    years = {int(text.split()[4][2:]) for text in made.clean_text}
    assert years == set(range(10, 90))


def test_digit_tokenizer_first_years_are_not_of_the_counterfactuals_decade():
    spec = later(starts=[30, 59], corrupted={"year": 45})
    made = make_prompts(spec, digit_tokenizer(), n=600, seed=0)
    years = {int(text.split()[4][2:]) for text in made.clean_text}
    assert years == {*range(30, 40), *range(50, 60)}


def test_digit_tokenizer_split_holds_out_first_years():
    spec = later(words={"events": NOUNS})
    made = make_prompts(spec, digit_tokenizer(), n=60, seed=0, split="train")
    assert not any(is_held_out(text.split()[4]) for text in made.clean_text)


@pytest.mark.parametrize("starts", [[2, 9], [90, 98]])
def test_digit_tokenizer_without_a_digit_on_either_side_says_which_years_it_takes(
    starts: list[int],
):
    with pytest.raises(PromptError) as raised:
        make_prompts(later(starts=starts), digit_tokenizer(), n=1, seed=0)
    assert raised.value.field == "generator.starts"
    assert f"no first year is left of 16{starts[0]:02} to 17{starts[1]:02}" in raised.value.problem
    assert "end in 10 to 89" in str(raised.value.allowed)


def test_digit_tokenizer_that_lacks_a_digit_is_refused():
    with pytest.raises(PromptError, match="'00' is not one token") as raised:
        make_prompts(later(), digit_tokenizer("012345678"), n=1, seed=0)
    assert raised.value.field == "generator.kind"


def test_answer_form_follows_from_the_tokenizer_alone():
    assert answer_form(later(), year_tokenizer("1733")) == "two_digits"
    assert answer_form(later(), digit_tokenizer()) == "decade_digit"
    # pairs of digits in the vocabulary that no year is ever cut into change nothing
    assert answer_form(later(), digit_tokenizer("0123456789", "[0-9]", *DIGITS)) == "decade_digit"
