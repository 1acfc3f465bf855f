"""Prompts about a span of years, for tokenizers that cut a year into century and two digits."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Form, last_words
from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.split import Split, in_split
from acdc_pipeline.prompts.tokenization import Ids, continuations, encode, pieces, unknown_id
from acdc_pipeline.prompts.word_fit import WordUse
from acdc_pipeline.specs.years import YearsGenerator

_DIGITS = tuple(f"{year:02}" for year in range(100))


def years_pairs(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    split: Split,
    rng: random.Random,
) -> list[Pair]:
    """`n` pairs, with templates in equal parts; nouns and first years are drawn at random.

    Correct are the tokens of all two-digit years after the first, incorrect those of the others.
    They are given as token ids: of some years (GPT-2: 1776) the whole is a token of its own, which
    cannot follow a century, while the two digits can.

    The words that `split` is about are the nouns and the first years, as in `1732`.

    Raises:
        PromptError: the tokenizer has no token for a pair of digits behind a century, or leaves
            no noun or no first year.
    """
    forms = [Form.parse(text) for text in spec.templates]
    (use,) = years_words(spec)
    nouns = use.enough(tokenizer, split)
    cuts = _cuts(spec, tokenizer, forms)
    ids = _digit_ids(spec, tokenizer, forms, cuts)
    starts = _starts(spec, tokenizer, forms, cuts, ids, split)
    out = []
    order: list[int] = []
    for _ in range(n):
        order = order or rng.sample(range(len(forms)), len(forms))
        template = order.pop(0)
        century, year = rng.choice(starts)
        words = {"noun": rng.choice(nouns), "century": century, "year": _DIGITS[year]}
        out.append(
            Pair(
                clean=forms[template].fill(words),
                corrupted=forms[template].fill(words | {"year": _DIGITS[spec.corrupted.year]}),
                correct=tuple(ids[year + 1 :]),
                incorrect=tuple(ids[: year + 1]),
                template=template,
            )
        )
    return out


def years_words(spec: YearsGenerator) -> list[WordUse]:
    """What the prompts do with the list of nouns."""
    forms = [Form.parse(text) for text in spec.templates]
    contexts = tuple(context for form in forms for context in form.contexts("noun"))
    return [WordUse(spec.nouns, spec.words[spec.nouns], contexts, 1)]


Cuts = Mapping[str, Mapping[str, set[Ids | None]]]
"""By century and two digits: what the digits add to it in the templates; None where they merge."""


def _cuts(spec: YearsGenerator, tokenizer: PreTrainedTokenizerBase, forms: Sequence[Form]) -> Cuts:
    """What `tokenizer` makes of every year of every century behind each template's words."""
    befores = _before_centuries(forms)
    asked = [
        (century, digits, f"{before}{century}")
        for century in _centuries(spec)
        for digits in _DIGITS
        for before in befores
    ]
    added = continuations(tokenizer, [(text, digits) for _, digits, text in asked])
    cuts = {century: {digits: set() for digits in _DIGITS} for century in _centuries(spec)}
    for (century, digits, _), ids in zip(asked, added, strict=True):
        cuts[century][digits].add(ids)
    return cuts


def _digit_ids(
    spec: YearsGenerator, tokenizer: PreTrainedTokenizerBase, forms: Sequence[Form], cuts: Cuts
) -> list[int]:
    """The token of each two-digit year behind a century, 00 first.

    Raises:
        PromptError: one of them has none, or not the same one everywhere.
    """
    unknown = unknown_id(tokenizer)
    out = []
    for digits in _DIGITS:
        ways = set().union(*(cuts[century][digits] for century in cuts))
        # GPT-2 has a whole token for every year that ends in 00: take that of the digits alone
        ways = ways - {None} or set(encode(tokenizer, [digits]))
        found = {ids[0] for ids in ways if ids is not None and len(ids) == 1} - {unknown}
        if len(found) != 1:
            text = f"{_before_centuries(forms)[0]}{_centuries(spec)[0]}{digits}"
            cut = pieces(tokenizer, encode(tokenizer, [text])[0])
            raise PromptError(
                f"'{digits}' is not one token at the end of '{text}': {cut}",
                field="generator.kind",
                allowed="tokenizers with a token for each of 00 to 99, which follows a century's",
                fix="use another model: this tokenizer cannot express the task",
            )
        out.append(found.pop())
    return out


def _starts(
    spec: YearsGenerator,
    tokenizer: PreTrainedTokenizerBase,
    forms: Sequence[Form],
    cuts: Cuts,
    ids: Sequence[int],
    split: Split,
) -> list[tuple[str, int]]:
    """Century and two digits of every first year that is two tokens, as its counterfactual is.

    Raises:
        PromptError: there is none.
    """
    least, most = spec.starts
    fitting = [
        (century, year)
        for century, ways in cuts.items()
        if _is_one_token(tokenizer, forms, century)
        for year in range(least, most + 1)
        if year != spec.corrupted.year
        and all(ways[_DIGITS[y]] == {(ids[y],)} for y in (year, spec.corrupted.year))
    ]
    out = [(century, y) for century, y in fitting if in_split(f"{century}{_DIGITS[y]}", split)]
    if not out:
        part = f", and {len(fitting)} outside split '{split}'" if fitting else ""
        raise PromptError(
            f"no first year is left of {spec.centuries[0]}{_DIGITS[least]} to "
            f"{spec.centuries[1]}{_DIGITS[most]}{part}",
            field="generator.starts",
            allowed="years that this model's tokenizer cuts into century and two digits",
            fix="allow more generator.starts or generator.centuries",
        )
    return out


def _is_one_token(tokenizer: PreTrainedTokenizerBase, forms: Sequence[Form], century: str) -> bool:
    """Whether `century` is one known token wherever it stands."""
    places = []
    for before in _before_centuries(forms):
        text = before.removesuffix(" ")
        places.append((text, before[len(text) :] + century))
    unknown = unknown_id(tokenizer)
    added = continuations(tokenizer, places)
    return all(ids is not None and len(ids) == 1 and ids[0] != unknown for ids in added)


def _before_centuries(forms: Sequence[Form]) -> list[str]:
    """Every text that a century stands behind, as far as it can matter."""
    befores = [
        last_words(literal)
        for form in forms
        for literal, hole in zip(form.literals, form.holes, strict=False)
        if hole == "century"
    ]
    return list(dict.fromkeys(befores))


def _centuries(spec: YearsGenerator) -> list[str]:
    return [str(century) for century in range(spec.centuries[0], spec.centuries[1] + 1)]
