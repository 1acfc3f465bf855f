"""Prompts from rows of words that belong together."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Form, answer_contexts
from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.split import Split, in_split
from acdc_pipeline.prompts.word_fit import WordUse, why_dropped
from acdc_pipeline.specs.table import FRESH, Row, TableGenerator
from acdc_pipeline.specs.task import Answers


def table_pairs(
    spec: TableGenerator,
    answers: Answers,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    split: Split,
    rng: random.Random,
) -> list[Pair]:
    """`n` pairs, with templates and rows in equal parts.

    No template meets a row for the second time before every other row. A fresh row is of the same
    split and group as the row it stands for, and shares no correct answer with it.

    Raises:
        PromptError: no row is left under `tokenizer` and `split`, or none with a fresh one.
    """
    forms = [Form.parse(text) for text in spec.templates]
    correct = [Form.parse(text) for text in answers.correct]
    incorrect = [Form.parse(text) for text in answers.incorrect]
    rows = _usable(spec, answers, tokenizer, split)
    fresh = _fresh_rows(spec, correct, rows)
    taken = [index for index in range(len(rows)) if fresh[index] or not spec.draws_fresh_row]
    if not taken:
        raise _too_few(spec, answers, tokenizer, split, len(rows))
    drawn = schedule(rng, len(forms), len(taken))
    out = []
    for _ in range(n):
        template, number = next(drawn)
        row = rows[taken[number]]
        other = rows[rng.choice(fresh[taken[number]])] if spec.draws_fresh_row else None
        words = dict(row) | {FRESH + name: word for name, word in (other or {}).items()}
        out.append(
            Pair(
                clean=forms[template].fill(row),
                corrupted=forms[template].fill(_corrupted(spec, row, other)),
                correct=tuple(answer.fill(words) for answer in correct),
                incorrect=tuple(answer.fill(words) for answer in incorrect),
                template=template,
            )
        )
    return out


def table_words(spec: TableGenerator, answers: Answers) -> list[WordUse]:
    """What the templates and answers do with each column, those left out that they do not use."""
    forms = [Form.parse(text) for text in spec.templates]
    as_answers = [Form.parse(text) for text in (*answers.correct, *answers.incorrect)]
    ends = [form.literals[-1] or spec.rows[0][form.holes[-1]] for form in forms]
    uses = []
    for column in spec.columns:
        names = [column, *(name for name, other in spec.corrupted.items() if other == column)]
        inside = [context for form in forms for name in names for context in form.contexts(name)]
        contexts = (*inside, *answer_contexts(ends, as_answers, (column, FRESH + column)))
        if contexts:
            words = tuple(dict.fromkeys(row[column] for row in spec.rows))
            uses.append(WordUse(column, words, contexts, 1))
    return uses


def schedule(rng: random.Random, n_templates: int, n_rows: int) -> Iterator[tuple[int, int]]:
    """Endless (template, row), every combination once before any comes again.

    Both take turns, so that every prefix holds each about equally often.
    """
    lap = math.lcm(n_templates, n_rows)
    while True:
        templates = rng.sample(range(n_templates), n_templates)
        rows = rng.sample(range(n_rows), n_rows)
        for turn in range(n_templates * n_rows):
            # after each lap the same two would meet again, unless one of them steps on
            yield templates[turn % n_templates], rows[(turn + turn // lap) % n_rows]


def _usable(
    spec: TableGenerator, answers: Answers, tokenizer: PreTrainedTokenizerBase, split: Split
) -> list[Row]:
    """The rows of `split` whose words are one token wherever the task puts them."""
    kept = {use.name: set(use.fitting(tokenizer)) for use in table_words(spec, answers)}
    return [
        row
        for row in spec.rows
        if in_split(row[spec.split], split)
        and all(row[column] in words for column, words in kept.items())
    ]


def _fresh_rows(
    spec: TableGenerator, correct: Sequence[Form], rows: Sequence[Row]
) -> list[list[int]]:
    """For each row, those that can stand for it in the counterfactual."""
    right = [{answer.fill(row) for answer in correct} for row in rows]
    return [
        [
            other
            for other in range(len(rows))
            if not right[index] & right[other]
            and (spec.group is None or row[spec.group] == rows[other][spec.group])
        ]
        for index, row in enumerate(rows)
    ]


def _corrupted(spec: TableGenerator, row: Row, fresh: Row | None) -> Row:
    """The words of the counterfactual by column."""
    if fresh is not None:
        return fresh
    return dict(row) | {name: row[other] for name, other in spec.corrupted.items()}


def _too_few(
    spec: TableGenerator,
    answers: Answers,
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    left: int,
) -> PromptError:
    """Says of one row that is not used what became of it."""
    allowed = [row for row in spec.rows if in_split(row[spec.split], split)]
    part = f"{len(spec.rows)} rows" + (
        "" if split == "all" else f", {len(allowed)} of them in split '{split}'"
    )
    needed = "1 needed"
    if spec.draws_fresh_row:
        alike = f" that agree in '{spec.group}'" if spec.group else ""
        needed = f"2{alike} with different answers needed"
    reason, fix = "", None
    for use in table_words(spec, answers):
        kept = set(use.fitting(tokenizer))
        lost = [row[use.name] for row in allowed if row[use.name] not in kept]
        if lost:
            why, fix = why_dropped(tokenizer, lost[0], use.contexts)
            reason = f"; {why}"
            break
    return PromptError(
        f"too few rows: {left} left of {part}, {needed}{reason}",
        field="generator.rows",
        allowed="rows whose words are one token each wherever the task puts them",
        fix=fix or "add rows that this tokenizer keeps whole",
    )
