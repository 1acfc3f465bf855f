"""Prompts about a span of years, for tokenizers that split off a year's century or every digit."""

from __future__ import annotations

import random
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Form
from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.split import Split, in_split
from acdc_pipeline.prompts.tokenization import continuations, unknown_id
from acdc_pipeline.prompts.word_fit import WordUse
from acdc_pipeline.prompts.year_tokens import (
    TWO_DIGITS,
    AnswerForm,
    YearAnswers,
    YearTokens,
    split_years,
    texts_before_centuries,
    year_answers,
)
from acdc_pipeline.specs.generators import YearsGenerator


def years_pairs(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    split: Split,
    rng: random.Random,
) -> list[Pair]:
    """`n` pairs, with templates in equal parts; nouns and first years are drawn at random.

    The tokenizer decides what is answered (`YearAnswers`). Where a century is followed by one
    token of two digits, correct are the tokens of all two-digit years after the first, incorrect
    those of the others. Where every digit is a token, correct are the digits greater than that of
    the first year's decade, incorrect the smaller ones.
    They are given as token ids: of some years (GPT-2: 1776) the whole is a token of its own, which
    cannot follow a century, while the two digits can.

    The words that `split` is about are the nouns and the first years, as in `1732`.

    Raises:
        PromptError: the tokenizer has neither a token for each pair of digits behind a century nor
            one for each digit, or leaves no noun or no first year.
    """
    forms = [Form.parse(text) for text in spec.templates]
    (use,) = years_words(spec)
    nouns = use.enough(tokenizer, split)
    years = split_years(spec, tokenizer, forms)
    answers = year_answers(spec, tokenizer, forms, years)
    starts = _starts(spec, tokenizer, forms, years, answers, split)
    out = []
    order: list[int] = []
    for _ in range(n):
        order = order or rng.sample(range(len(forms)), len(forms))
        template = order.pop(0)
        century, year = rng.choice(starts)
        words = {"noun": rng.choice(nouns), "century": century, "year": TWO_DIGITS[year]}
        correct, incorrect = answers.later_and_not(year)
        out.append(
            Pair(
                clean=forms[template].fill(words),
                corrupted=forms[template].fill(words | {"year": TWO_DIGITS[spec.corrupted.year]}),
                correct=correct,
                incorrect=incorrect,
                template=template,
            )
        )
    return out


def years_words(spec: YearsGenerator) -> list[WordUse]:
    """What the prompts do with the list of nouns."""
    forms = [Form.parse(text) for text in spec.templates]
    contexts = tuple(context for form in forms for context in form.contexts("noun"))
    return [WordUse(spec.nouns, spec.words[spec.nouns], contexts, 1)]


def years_answer_form(spec: YearsGenerator, tokenizer: PreTrainedTokenizerBase) -> AnswerForm:
    """What prompts under `tokenizer` are answered by. Raises PromptError if it has no form."""
    forms = [Form.parse(text) for text in spec.templates]
    return year_answers(spec, tokenizer, forms, split_years(spec, tokenizer, forms)).form


def _starts(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    forms: Sequence[Form],
    years: YearTokens,
    answers: YearAnswers,
    split: Split,
) -> list[tuple[str, int]]:
    """Century and two digits of every first year that can be answered rightly and wrongly.

    Raises:
        PromptError: there is none.
    """
    least, most = spec.starts
    by_decade = answers.form == "decade_digit"
    fitting = (
        _by_decade(spec, years) if by_decade else _by_year(spec, tokenizer, forms, years, answers)
    )
    out = [(century, y) for century, y in fitting if in_split(f"{century}{TWO_DIGITS[y]}", split)]
    if not out:
        part = f", and {len(fitting)} outside split '{split}'" if fitting else ""
        allowed = "years that this model's tokenizer cuts into century and two digits"
        if by_decade:
            allowed = (
                "years that end in 10 to 89, not of the counterfactual's decade: this model's "
                "tokenizer writes every digit by itself, and the decade is what is answered"
            )
        raise PromptError(
            f"no first year is left of {spec.centuries[0]}{TWO_DIGITS[least]} to "
            f"{spec.centuries[1]}{TWO_DIGITS[most]}{part}",
            field="generator.starts",
            allowed=allowed,
            fix="allow more generator.starts or generator.centuries",
        )
    return out


def _by_decade(spec: YearsGenerator, years: YearTokens) -> list[tuple[str, int]]:
    """The first years with a digit below and one above that of their decade.

    Years of the counterfactual's own decade are left out: both sides would have one answer.
    """
    least, most = spec.starts
    return [
        (century, year)
        for century in years
        for year in range(least, most + 1)
        if 1 <= year // 10 <= 8 and year // 10 != spec.corrupted.year // 10
    ]


def _by_year(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    forms: Sequence[Form],
    years: YearTokens,
    answers: YearAnswers,
) -> list[tuple[str, int]]:
    """The first years that are two tokens, as their counterfactuals are."""
    least, most = spec.starts
    return [
        (century, year)
        for century, ways in years.items()
        if _is_one_token(tokenizer, forms, century)
        for year in range(least, most + 1)
        if year != spec.corrupted.year
        and all(ways[TWO_DIGITS[y]] == {(answers.ids[y],)} for y in (year, spec.corrupted.year))
    ]


def _is_one_token(tokenizer: PreTrainedTokenizerBase, forms: Sequence[Form], century: str) -> bool:
    """Whether `century` is one known token wherever it stands."""
    places = []
    for before in texts_before_centuries(forms):
        text = before.removesuffix(" ")
        places.append((text, before[len(text) :] + century))
    unknown = unknown_id(tokenizer)
    added = continuations(tokenizer, places)
    return all(ids is not None and len(ids) == 1 and ids[0] != unknown for ids in added)
