"""How a tokenizer splits years: century and two digits (GPT-2), or digit by digit (Llama 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Form, last_words
from acdc_pipeline.prompts.tokenization import Ids, continuations, encode, pieces, unknown_id
from acdc_pipeline.specs.generators import YearsGenerator

TWO_DIGITS = tuple(f"{year:02}" for year in range(100))

AnswerForm = Literal["two_digits", "decade_digit"]
"""What a prompt that ends in a century is answered by: `41`, or the `4` of `4` `1`."""

YearTokens = Mapping[str, Mapping[str, set[Ids | None]]]
"""By century and two digits: what the digits add to it in the templates; None where they merge."""


@dataclass(frozen=True, slots=True)
class YearAnswers:
    """The answer tokens behind a century.

    Args:
        form: what an answer stands for.
        ids: a token for each of 00 to 99 (`two_digits`), or for each of 0 to 9 (`decade_digit`).
    """

    form: AnswerForm
    ids: tuple[int, ...]

    def later_and_not(self, year: int) -> tuple[Ids, Ids]:
        """The correct and the incorrect answers behind a first year that ends in `year`.

        Two digits: the years after `year`, and `year` with those before it. Digit of the decade:
        the greater and the smaller digits. The digit of `year`'s own decade is in neither: whether
        such a year is later depends on its last digit, which is not written yet.
        """
        if self.form == "two_digits":
            return self.ids[year + 1 :], self.ids[: year + 1]
        decade = year // 10
        return self.ids[decade + 1 :], self.ids[:decade]


def split_years(
    spec: YearsGenerator, tokenizer: PreTrainedTokenizerBase, forms: Sequence[Form]
) -> YearTokens:
    """The tokens of every year of every century behind each template's words."""
    befores = texts_before_centuries(forms)
    years = [
        (century, digits, f"{before}{century}")
        for century in centuries_of(spec)
        for digits in TWO_DIGITS
        for before in befores
    ]
    added = continuations(tokenizer, [(text, digits) for _, digits, text in years])
    tokens = {century: {digits: set() for digits in TWO_DIGITS} for century in centuries_of(spec)}
    for (century, digits, _), ids in zip(years, added, strict=True):
        tokens[century][digits].add(ids)
    return tokens


def year_answers(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    forms: Sequence[Form],
    years: YearTokens,
) -> YearAnswers:
    """The answer tokens of `tokenizer`, which alone decides their form.

    The form is `decade_digit` where every year of every century is written digit by digit, with
    ten different known tokens. No pair of digits is a token there, so at most one form applies.

    Raises:
        PromptError: neither applies: a pair of digits has no token behind a century, or not the
            same one everywhere.
    """
    digits = _digit_ids(tokenizer, years)
    if digits is not None:
        return YearAnswers("decade_digit", digits)
    return YearAnswers("two_digits", _pair_ids(spec, tokenizer, forms, years))


def _digit_ids(tokenizer: PreTrainedTokenizerBase, years: YearTokens) -> Ids | None:
    """The tokens of 0 to 9, or None where some year is not written digit by digit."""
    found: dict[str, int] = {}
    for digits, ids in _splits(years):
        if ids is None or len(ids) != 2:
            return None
        if any(found.setdefault(d, i) != i for d, i in zip(digits, ids, strict=True)):
            return None
    tokens = tuple(found[digit] for digit in "0123456789")
    known = set(tokens) - {unknown_id(tokenizer)}
    return tokens if len(known) == len(tokens) else None


def _pair_ids(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    forms: Sequence[Form],
    years: YearTokens,
) -> Ids:
    """The token of each two-digit year behind a century, 00 first. Raises PromptError."""
    unknown = unknown_id(tokenizer)
    all_merge = all(ids is None for _, ids in _splits(years))
    out = []
    for digits in TWO_DIGITS:
        ways = set().union(*(years[century][digits] for century in years)) - {None}
        if not ways and not all_merge:
            # GPT-2 has a whole token for every year that ends in 00: take that of the digits alone
            ways = set(encode(tokenizer, [digits]))
        found = {ids[0] for ids in ways if ids is not None and len(ids) == 1} - {unknown}
        if len(found) != 1:
            text = f"{texts_before_centuries(forms)[0]}{centuries_of(spec)[0]}{digits}"
            cut = pieces(tokenizer, encode(tokenizer, [text])[0])
            raise PromptError(
                f"'{digits}' is not one token at the end of '{text}': {cut}",
                field="generator.kind",
                allowed="tokenizers with a token for each of 00 to 99, which follows a century's, "
                "or with a token for every digit",
                fix="use another model: this tokenizer cannot express the task",
            )
        out.append(found.pop())
    return tuple(out)


def _splits(years: YearTokens) -> Iterable[tuple[str, Ids | None]]:
    for by_digits in years.values():
        for digits, ways in by_digits.items():
            for ids in ways:
                yield digits, ids


def texts_before_centuries(forms: Sequence[Form]) -> list[str]:
    """Every text that a century stands behind, as far as it can matter."""
    befores = [
        last_words(literal)
        for form in forms
        for literal, hole in zip(form.literals, form.holes, strict=False)
        if hole == "century"
    ]
    return list(dict.fromkeys(befores))


def centuries_of(spec: YearsGenerator) -> list[str]:
    """The first two digits of years, as they are written."""
    return [str(century) for century in range(spec.centuries[0], spec.centuries[1] + 1)]
