"""Prompts about a span of years, for tokenizers that split years after the century or every digit.

GPT-2 splits a year into century and two digits, Llama 2 into single digits.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Form, last_words, number_names
from acdc_pipeline.prompts.pairs import Pair
from acdc_pipeline.prompts.split import Split, in_split
from acdc_pipeline.prompts.tokenization import (
    Ids,
    WordUse,
    continuations,
    encode,
    quote_tokens,
    unknown_id,
)
from acdc_pipeline.specs.generators import YearsGenerator

TWO_DIGITS = tuple(f"{year:02}" for year in range(100))

AnswerForm = Literal["two_digits", "decade_digit"]
"""Form of the answer to a prompt that ends in a century: `41`, or the `4` of `4` `1`."""

YearTokens = Mapping[str, Mapping[str, set[Ids | None]]]
"""By century and two digits: tokens that the digits add in the templates; None if they merge."""


@dataclass(frozen=True, slots=True)
class YearAnswers:
    """The answer tokens after a century.

    Args:
        form: form of the answers.
        ids: tokens of 00 to 99 (`two_digits`), or of 0 to 9 (`decade_digit`).
    """

    form: AnswerForm
    ids: tuple[int, ...]

    def split_at(self, year: int) -> tuple[Ids, Ids]:
        """Return the correct and the incorrect answers after a first year that ends in `year`.

        Two digits: later years are correct, `year` and earlier ones incorrect. Digit of the decade:
        greater digits are correct, smaller ones incorrect. The decade of `year` itself is in
        neither, as the last digit would decide.
        """
        if self.form == "two_digits":
            return self.ids[year + 1 :], self.ids[: year + 1]
        decade = year // 10
        return self.ids[decade + 1 :], self.ids[:decade]


def years_pairs(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    split: Split,
    rng: random.Random,
) -> list[Pair]:
    """Return `n` pairs with templates in equal parts; nouns and first years are random.

    The tokenizer decides the form of the answers, see `YearAnswers`. Answers are token ids: some
    whole years, such as 1776 under GPT-2, are a token of their own, which cannot follow a century.
    `split` applies to the nouns and the first years, as in `1732`.

    Raises:
        PromptError: the tokenizer has neither a token for each pair of digits after a century nor
            one for each digit, or there is no usable noun or first year.
    """
    forms = [Form.parse(text) for text in spec.templates]
    (use,) = years_words(spec)
    nouns = use.require_usable(tokenizer, split)
    years = _split_years(spec, tokenizer, forms)
    answers = _find_year_answers(spec, tokenizer, forms, years)
    starts = _list_starts(spec, tokenizer, forms, years, answers, split)
    span_names = [_name_holes(form) for form in forms]
    out = []
    order: list[int] = []
    for _ in range(n):
        order = order or rng.sample(range(len(forms)), len(forms))
        template = order.pop(0)
        century, year = rng.choice(starts)
        words = {"noun": rng.choice(nouns), "century": century, "year": TWO_DIGITS[year]}
        correct, incorrect = answers.split_at(year)
        out.append(
            Pair(
                clean=forms[template].fill(words),
                corrupted=forms[template].fill(words | {"year": TWO_DIGITS[spec.corrupted.year]}),
                correct=correct,
                incorrect=incorrect,
                template=template,
                slots=forms[template].slots(words, span_names[template]),
            )
        )
    return out


def _name_holes(form: Form) -> list[str]:
    """Return the span of each hole: `noun`, `XX1`, `YY`, `XX2` (Hanna et al. 2023, section 2)."""
    (numbered,) = number_names([["XX" if hole == "century" else hole for hole in form.holes]])
    return ["YY" if name == "year" else name for name in numbered]


def years_words(spec: YearsGenerator) -> list[WordUse]:
    """Return the use of the list of nouns."""
    forms = [Form.parse(text) for text in spec.templates]
    contexts = tuple(context for form in forms for context in form.contexts("noun"))
    return [WordUse(spec.nouns, spec.words[spec.nouns], contexts, 1)]


def years_answer_form(spec: YearsGenerator, tokenizer: PreTrainedTokenizerBase) -> AnswerForm:
    """Return the form of the answers under `tokenizer`. Raises PromptError if there is none."""
    forms = [Form.parse(text) for text in spec.templates]
    return _find_year_answers(spec, tokenizer, forms, _split_years(spec, tokenizer, forms)).form


def _list_starts(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    forms: Sequence[Form],
    years: YearTokens,
    answers: YearAnswers,
    split: Split,
) -> list[tuple[str, int]]:
    """Return century and two digits of every first year with correct and incorrect answers.

    Raises:
        PromptError: there is none.
    """
    least, most = spec.starts
    by_decade = answers.form == "decade_digit"
    usable = (
        _starts_by_decade(spec, years)
        if by_decade
        else _starts_by_year(spec, tokenizer, forms, years, answers)
    )
    out = [(century, y) for century, y in usable if in_split(f"{century}{TWO_DIGITS[y]}", split)]
    if not out:
        part = f", and {len(usable)} outside split '{split}'" if usable else ""
        allowed = "years that this model's tokenizer cuts into century and two digits"
        if by_decade:
            allowed = (
                "years that end in 10 to 89, not of the counterfactual's decade: this model's "
                "tokenizer splits years into digits, and the digit of the decade is the answer"
            )
        raise PromptError(
            f"no first year is left of {spec.centuries[0]}{TWO_DIGITS[least]} to "
            f"{spec.centuries[1]}{TWO_DIGITS[most]}{part}",
            field="generator.starts",
            allowed=allowed,
            fix="allow more generator.starts or generator.centuries",
        )
    return out


def _starts_by_decade(spec: YearsGenerator, years: YearTokens) -> list[tuple[str, int]]:
    """Return the first years with smaller and greater decades, except the counterfactual's own."""
    least, most = spec.starts
    return [
        (century, year)
        for century in years
        for year in range(least, most + 1)
        if 1 <= year // 10 <= 8 and year // 10 != spec.corrupted.year // 10
    ]


def _starts_by_year(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    forms: Sequence[Form],
    years: YearTokens,
    answers: YearAnswers,
) -> list[tuple[str, int]]:
    """Return the first years that are two tokens, as are their counterfactuals."""
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
    """Return whether `century` is one known token in every template."""
    places = []
    for before in _texts_before_centuries(forms):
        text = before.removesuffix(" ")
        places.append((text, before[len(text) :] + century))
    unknown = unknown_id(tokenizer)
    added = continuations(tokenizer, places)
    return all(ids is not None and len(ids) == 1 and ids[0] != unknown for ids in added)


def _split_years(
    spec: YearsGenerator, tokenizer: PreTrainedTokenizerBase, forms: Sequence[Form]
) -> YearTokens:
    """Return the tokens of every year of every century after the words of each template."""
    befores = _texts_before_centuries(forms)
    tokens = {
        century: {digits: set() for digits in TWO_DIGITS} for century in _list_centuries(spec)
    }
    years = [
        (century, digits, f"{before}{century}")
        for century in tokens
        for digits in TWO_DIGITS
        for before in befores
    ]
    added = continuations(tokenizer, [(text, digits) for _, digits, text in years])
    for (century, digits, _), ids in zip(years, added, strict=True):
        tokens[century][digits].add(ids)
    return tokens


def _find_year_answers(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    forms: Sequence[Form],
    years: YearTokens,
) -> YearAnswers:
    """Return the answer tokens of `tokenizer`.

    The form is `decade_digit` if every year is split into digits with ten different known tokens.
    Then no pair of digits is a token, so at most one form applies.

    Raises:
        PromptError: neither applies: a pair of digits has no token after a century, or different
            ones.
    """
    digits = _find_digit_ids(tokenizer, years)
    if digits is not None:
        return YearAnswers("decade_digit", digits)
    return YearAnswers("two_digits", _find_pair_ids(spec, tokenizer, forms, years))


def _find_digit_ids(tokenizer: PreTrainedTokenizerBase, years: YearTokens) -> Ids | None:
    """Return the tokens of 0 to 9, or None if some year is not split into digits."""
    found: dict[str, int] = {}
    for digits, ids in _iterate_splits(years):
        if ids is None or len(ids) != 2:
            return None
        if any(found.setdefault(d, i) != i for d, i in zip(digits, ids, strict=True)):
            return None
    tokens = tuple(found[digit] for digit in "0123456789")
    known = set(tokens) - {unknown_id(tokenizer)}
    return tokens if len(known) == len(tokens) else None


def _find_pair_ids(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    forms: Sequence[Form],
    years: YearTokens,
) -> Ids:
    """Return the token of each two-digit year after a century, 00 first. Raises PromptError."""
    unknown = unknown_id(tokenizer)
    all_merge = all(ids is None for _, ids in _iterate_splits(years))
    out = []
    for digits in TWO_DIGITS:
        ways = set().union(*(years[century][digits] for century in years)) - {None}
        if not ways and not all_merge:
            # GPT-2 has a token for every whole year that ends in 00: use that of the digits alone.
            ways = set(encode(tokenizer, [digits]))
        found = {ids[0] for ids in ways if ids is not None and len(ids) == 1} - {unknown}
        if len(found) != 1:
            text = f"{_texts_before_centuries(forms)[0]}{_list_centuries(spec)[0]}{digits}"
            cut = quote_tokens(tokenizer, encode(tokenizer, [text])[0])
            raise PromptError(
                f"'{digits}' is not one token at the end of '{text}': {cut}",
                field="generator.kind",
                allowed="tokenizers with a token for each of 00 to 99, which follows a century's, "
                "or with a token for every digit",
                fix="use another model: this tokenizer cannot express the task",
            )
        out.append(found.pop())
    return tuple(out)


def _iterate_splits(years: YearTokens) -> Iterable[tuple[str, Ids | None]]:
    for by_digits in years.values():
        for digits, ways in by_digits.items():
            for ids in ways:
                yield digits, ids


def _texts_before_centuries(forms: Sequence[Form]) -> list[str]:
    """Return the texts in front of centuries, as far as they can matter."""
    befores = [
        last_words(literal)
        for form in forms
        for literal, hole in zip(form.literals, form.holes, strict=False)
        if hole == "century"
    ]
    return list(dict.fromkeys(befores))


def _list_centuries(spec: YearsGenerator) -> list[str]:
    """Return the first two digits of the years."""
    return [str(century) for century in range(spec.centuries[0], spec.centuries[1] + 1)]
