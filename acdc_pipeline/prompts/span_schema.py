"""Spans for prompts that have none: tokens that all prompts share, and slots that vary."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.common_tokens import common_subsequence, place_tokens
from acdc_pipeline.prompts.form import number_names
from acdc_pipeline.prompts.span_tokens import BOS, END, REST
from acdc_pipeline.specs.span_schema import Part, SpanSchema

ALIKE = 0.55
"""Least share of common tokens, in their order, by which two prompts have one pattern."""

Texts = Sequence[str]
"""The text of each token of a prompt."""

AnswerPlaces = Mapping[int, Literal["correct", "incorrect"]]
"""Positions whose token is an answer of the prompt."""

Gap = tuple[int, int]


def propose_schema(
    prompts: Sequence[Texts], answers: Sequence[AnswerPlaces], n_special: int
) -> SpanSchema:
    """Return patterns in which every prompt fits one.

    Prompts with many common tokens have one pattern, and those that resemble no other have one
    together. A token that is the same in all prompts of a pattern, and stands in every pattern, is
    a span called by its text, or else by its number. What varies between two constant tokens is a
    span `slot1`, `slot2`, … The first `n_special` tokens are `bos`, the last one is `END`. Tokens
    that vary and equal an answer are `correct` or `incorrect`, if every prompt has one.
    """
    groups = [[prompts[i] for i in group] for group in _group(prompts)]
    inner = [_align([texts[n_special:-1] for texts in group]) for group in groups]
    patterns = [
        _frame(group, n_special, parts)
        for group, parts in zip(groups, _name_parts(inner), strict=True)
    ]
    schema = SpanSchema(patterns=tuple(patterns))
    kinds = [
        {of_prompt.get(position) for position in _varying(schema, texts)}
        for texts, of_prompt in zip(prompts, answers, strict=True)
    ]
    rules = {kind: kind for kind in ("correct", "incorrect") if all(kind in k for k in kinds)}
    return SpanSchema(**rules, patterns=schema.patterns)


def apply_schema(
    schema: SpanSchema,
    prompts: Sequence[Texts],
    answers: Sequence[AnswerPlaces],
    places: Sequence[str],
) -> list[dict[str, list[int]]]:
    """Return the positions of each span in each prompt, without those of `rest`.

    Args:
        places: the place of each prompt in error messages.

    Raises:
        PromptError: a prompt fits no pattern.
    """
    rows = []
    for texts, of_prompt, where in zip(prompts, answers, places, strict=True):
        found = _match_first(schema, texts)
        if found is None:
            text = "".join(texts)
            raise PromptError(
                f"{text if len(text) <= 80 else text[:79] + '…'!r} fits none of "
                f"{len(schema.patterns)} patterns",
                where=where,
                field="patterns",
                fix="add a pattern, or let more --prompts decide what varies",
            )
        parts, starts = found
        names = [""] * len(texts)
        for part, start, end in zip(parts, starts, [*starts[1:], len(texts)], strict=True):
            for position in range(start, end):
                rule = None if part.text is not None else of_prompt.get(position)
                by_answer = None if rule is None else getattr(schema, rule)
                names[position] = by_answer or part.span
        rows.append(names)
    return [_positions(names) for names in _number_answers(schema, rows)]


def part_texts(schema: SpanSchema, texts: Texts) -> tuple[int, list[str]] | None:
    """Return the number of the first pattern that fits, and the text of each of its parts."""
    for number, parts in enumerate(schema.patterns):
        starts = match_parts(parts, texts)
        if starts is not None:
            ends = [*starts[1:], len(texts)]
            pieces = zip(starts, ends, strict=True)
            return number, ["".join(texts[start:end]) for start, end in pieces]
    return None


def _group(prompts: Sequence[Texts]) -> list[list[int]]:
    """Return the numbers of prompts that have one pattern, by the first of each."""
    groups: list[list[int]] = []
    for number, texts in enumerate(prompts):
        for group in groups:
            first = prompts[group[0]]
            if _are_alike(first, texts):
                group.append(number)
                break
        else:
            groups.append([number])
    alone = [group[0] for group in groups if len(group) == 1]
    return [group for group in groups if len(group) > 1] + ([alone] if alone else [])


def _are_alike(left: Texts, right: Texts) -> bool:
    """Return whether two prompts have so many tokens in common that they may have one pattern."""
    needed = ALIKE * max(len(left), len(right))
    if sum(map(str.__eq__, left, right)) >= needed:
        return True
    if (Counter(left) & Counter(right)).total() < needed:
        return False
    return len(common_subsequence(left, right)) >= needed


def _frame(prompts: Sequence[Texts], n_special: int, parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return the parts of prompts, with the special tokens in front and the last one."""
    special = [Part(span=BOS, text=text) for text in prompts[0][:n_special]]
    lasts = {texts[-1] for texts in prompts}
    return (*special, *parts, Part(span=END, text=lasts.pop() if len(lasts) == 1 else None))


def _align(prompts: Sequence[Texts]) -> list[tuple[str | None, Gap]]:
    """Return the text of each part, None if it varies, with the least and most of its tokens."""
    if len({len(texts) for texts in prompts}) == 1:
        columns = zip(*prompts, strict=True)
        return [(column[0] if len(set(column)) == 1 else None, (1, 1)) for column in columns]
    constants = list(prompts[0])
    for texts in prompts[1:]:
        constants = common_subsequence(constants, texts)
    placed = [[-1, *place_tokens(constants, texts), len(texts)] for texts in prompts]
    parts: list[tuple[str | None, Gap]] = []
    for number, text in enumerate([*constants, None]):
        gaps = [places[number + 1] - places[number] - 1 for places in placed]
        least, most = min(gaps), max(gaps)
        parts += [(None, (1, 1))] * least if least == most else [(None, (least, most))]
        if text is not None:
            parts.append((text, (1, 1)))
    return parts


def _name_parts(patterns: Sequence[Sequence[tuple[str | None, Gap]]]) -> list[list[Part]]:
    """Return the parts of patterns with names: slots by number, constant tokens by their text."""
    rows = number_names(
        [
            [_name_of(text, at) for at, (text, _) in enumerate(parts, start=1) if text is not None]
            for parts in patterns
        ]
    )
    shared = set(rows[0]).intersection(*rows[1:])
    out = []
    for parts, row in zip(patterns, rows, strict=True):
        names = (name if name in shared else REST for name in row)
        slots = itertools.count(1)
        out.append(
            [
                Part(
                    span=f"slot{next(slots)}" if text is None else next(names),
                    text=text,
                    tokens=gap,
                )
                for text, gap in parts
            ]
        )
    return out


def _name_of(text: str, number: int) -> str:
    """Return a name for a token: its letters and digits, the name of its mark, or its number."""
    if name := re.sub(r"[^A-Za-z0-9_]", "", text):
        return name
    mark = unicodedata.name(text.strip(), "") if len(text.strip()) == 1 else ""
    return mark.lower().replace(" ", "_") or f"t{number}"


def _match_first(schema: SpanSchema, texts: Texts) -> tuple[tuple[Part, ...], list[int]] | None:
    """Return the first pattern that fits, and where each of its parts begins."""
    for parts in schema.patterns:
        starts = match_parts(parts, texts)
        if starts is not None:
            return parts, starts
    return None


def match_parts(parts: Sequence[Part], texts: Texts) -> list[int] | None:
    """Return where each part begins; None if they do not make up the prompt.

    Of several ways, the parts in front have the fewest tokens.
    """
    fits = [{len(texts)}]  # from where the parts that follow make up the rest
    for part in reversed(parts):
        least, most = part.tokens
        fits.append(
            {
                start
                for start in range(len(texts) + 1)
                if any(start + n in fits[-1] for n in range(least, most + 1))
                and (part.text is None or texts[start : start + 1] == [part.text])
            }
        )
    fits.reverse()
    if 0 not in fits[0]:
        return None
    starts = [0]
    for part, following in zip(parts, fits[1:], strict=True):
        least, most = part.tokens
        starts.append(
            next(starts[-1] + n for n in range(least, most + 1) if starts[-1] + n in following)
        )
    return starts[:-1]


def _varying(schema: SpanSchema, texts: Texts) -> list[int]:
    """Return the positions of tokens that vary."""
    found = _match_first(schema, texts)
    if found is None:
        return []
    parts, starts = found
    return [
        position
        for part, start, end in zip(parts, starts, [*starts[1:], len(texts)], strict=True)
        for position in range(start, end)
        if part.text is None
    ]


def _number_answers(schema: SpanSchema, rows: Sequence[list[str]]) -> list[list[str]]:
    """Return the names of the tokens, with answers numbered where a prompt has several."""
    answers = {schema.correct, schema.incorrect} - {None}
    numbered = number_names([[name for name in row if name in answers] for row in rows])
    out = []
    for row, names in zip(rows, numbered, strict=True):
        own = iter(names)
        out.append([next(own) if name in answers else name for name in row])
    return out


def _positions(names: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        if name != REST:
            found.setdefault(name, []).append(position)
    return found
