"""Prompts from sentence templates and a table of words that belong together."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Form, answer_contexts, number_names
from acdc_pipeline.prompts.pairs import Pair
from acdc_pipeline.prompts.split import Split, in_split
from acdc_pipeline.prompts.tokenization import WordUse, explain_dropped
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
    """Return `n` pairs with templates and rows in equal parts.

    Every template uses all rows before it uses one again. A fresh row has the split and group of
    the row that it replaces, and no correct answer in common with it.

    Raises:
        PromptError: no row is usable under `tokenizer` and `split`, or none has a fresh one.
    """
    forms = [Form.parse(text) for text in spec.templates]
    correct = [Form.parse(text) for text in answers.correct]
    incorrect = [Form.parse(text) for text in answers.incorrect]
    rows = _list_usable_rows(spec, answers, tokenizer, split)
    fresh = _list_fresh_rows(spec, correct, rows)
    usable = [index for index in range(len(rows)) if fresh[index] or not spec.draws_fresh_row]
    if not usable:
        raise _too_few_rows(spec, answers, tokenizer, split, len(rows))
    turns = schedule(rng, len(forms), len(usable))
    span_names = number_names([form.holes for form in forms])
    out = []
    for _ in range(n):
        template, number = next(turns)
        row = rows[usable[number]]
        other = rows[rng.choice(fresh[usable[number]])] if spec.draws_fresh_row else None
        corrupted = other or dict(row) | {
            name: row[column] for name, column in spec.corrupted.items()
        }
        words = dict(row) | {FRESH + name: word for name, word in (other or {}).items()}
        out.append(
            Pair(
                clean=forms[template].fill(row),
                corrupted=forms[template].fill(corrupted),
                correct=tuple(answer.fill(words) for answer in correct),
                incorrect=tuple(answer.fill(words) for answer in incorrect),
                template=template,
                slots=forms[template].slots(row, span_names[template]),
            )
        )
    return out


def table_words(spec: TableGenerator, answers: Answers) -> list[WordUse]:
    """Return the use of each column in the templates and answers, without unused columns."""
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
    """Yield (template, row) without end, each combination once before any is repeated.

    Both take turns, so every prefix contains each about equally often.
    """
    lap = math.lcm(n_templates, n_rows)
    while True:
        templates = rng.sample(range(n_templates), n_templates)
        rows = rng.sample(range(n_rows), n_rows)
        for turn in range(n_templates * n_rows):
            # After each lap the same combinations would recur, so the rows shift by one.
            yield templates[turn % n_templates], rows[(turn + turn // lap) % n_rows]


def _list_usable_rows(
    spec: TableGenerator, answers: Answers, tokenizer: PreTrainedTokenizerBase, split: Split
) -> list[Row]:
    """Return the rows of `split` whose words are one token in all their contexts."""
    kept = {use.name: set(use.list_usable(tokenizer)) for use in table_words(spec, answers)}
    return [
        row
        for row in spec.rows
        if in_split(row[spec.split], split)
        and all(row[column] in words for column, words in kept.items())
    ]


def _list_fresh_rows(
    spec: TableGenerator, correct: Sequence[Form], rows: Sequence[Row]
) -> list[list[int]]:
    """Return for each row the indices of those that can replace it in the counterfactual."""
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


def _too_few_rows(
    spec: TableGenerator,
    answers: Answers,
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    left: int,
) -> PromptError:
    """Return the error, with the reason why one of the rows is unusable."""
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
        kept = set(use.list_usable(tokenizer))
        lost = [row[use.name] for row in allowed if row[use.name] not in kept]
        if lost:
            why, fix = explain_dropped(tokenizer, lost[0], use.contexts)
            reason = f"; {why}"
            break
    return PromptError(
        f"too few rows: {left} left of {part}, {needed}{reason}",
        field="generator.rows",
        allowed="rows whose words are one token each wherever the task puts them",
        fix=fix or "add rows that this tokenizer keeps whole",
    )
