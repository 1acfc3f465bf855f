"""Prompt pairs in a `.jsonl` file: one JSON object per line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_serializer, model_validator

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.base import Spec, as_tuple, rejection
from acdc_pipeline.specs.files import display_path, read_bytes
from acdc_pipeline.specs.load import parse

Text = str | tuple[int, ...]
"""A prompt: a text, or token ids that are used unchanged."""

_FIX = 'write lines like {"clean": "…", "corrupted": "…", "correct": "…", "incorrect": "…"}'


def _listed(value: Any) -> Any:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return (value,)
    return tuple(map(as_tuple, value)) if isinstance(value, list) else value


_OneAnswer = str | int | tuple[int, ...]

Answer = Annotated[
    tuple[_OneAnswer, ...],
    BeforeValidator(_listed, json_schema_input_type=str | int | tuple[_OneAnswer, ...]),
]
"""Texts, token ids, or lists of the ids of one answer, any of which counts.

A single text or id need not be a list.
"""

PairBos = Annotated[
    bool | Literal["auto"],
    Field(
        description="whether a beginning-of-sequence token comes first: true, false, or auto: "
        "as the model's tokenizer does by itself"
    ),
]

Positions = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


Alignment = Annotated[
    Literal["right"] | None,
    Field(description="right: the sides may differ in length, and are aligned from the end"),
]
AnswerLength = Annotated[
    Literal["whole"] | None,
    Field(description="whole: an answer may have several tokens, and counts by all of them"),
]


class PairOptions(Spec):
    """A specification whose options are left out of plain data, and of hashes, if not given."""

    @model_serializer(mode="wrap")
    def _without_options_not_given(
        self, handler: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        options = ("align", "answers", "bos", "spans")
        return {k: v for k, v in handler(self).items() if v is not None or k not in options}


class Span(Spec):
    """The tokens of a named part of both sides, counted from 0 without padding.

    A beginning-of-sequence token in front of the prompt counts as a token.
    """

    clean: Positions
    corrupted: Positions


class PromptPair(PairOptions):
    """A clean prompt, its counterfactual, and the correct and incorrect answers.

    Args:
        roles: what decides the answer.
        align: `right` where the sides may differ in length, and are aligned from their ends.
        spans: parts of the two sides that correspond though they differ in length. All other
            tokens correspond in their order.
        answers: `whole` where an answer may have several tokens, and counts by the probability of
            all of them.
        bos: whether a beginning-of-sequence token is put in front of texts; None as the task has
            it.
    """

    clean: Annotated[Text, Field(description="a text or a list of token ids", min_length=1)]
    corrupted: Annotated[Text, Field(description="a text or a list of token ids", min_length=1)]
    correct: Annotated[Answer, Field(description="an answer or a list of them", min_length=1)]
    incorrect: Answer = ()
    roles: Annotated[
        Mapping[str, str],
        Field(description="what decides the answer: pairs that agree in it may be exchanged"),
    ] = {}
    align: Alignment = None
    spans: Annotated[
        Mapping[str, Span] | None,
        Field(description="parts that correspond though they differ in length, by name"),
    ] = None
    answers: AnswerLength = None
    bos: PairBos | None = None

    @model_validator(mode="after")
    def _spans_are_apart(self) -> PromptPair:
        for side in ("clean", "corrupted"):
            seen: set[int] = set()
            for name, span in (self.spans or {}).items():
                positions: tuple[int, ...] = getattr(span, side)
                if list(positions) != sorted(set(positions)):
                    raise rejection(
                        f"spans.{name}.{side}", "is not in ascending order", fix="sort it"
                    )
                if both := seen.intersection(positions):
                    problem = f"token {min(both)} is in another span too"
                    raise rejection(f"spans.{name}.{side}", problem, fix="keep it in one of them")
                seen.update(positions)
        return self

    @model_validator(mode="after")
    def _answers_differ(self) -> PromptPair:
        if both := [answer for answer in self.incorrect if answer in self.correct]:
            raise rejection("incorrect", f"{both[0]!r} is a correct answer too", fix="remove it")
        return self


def read_pairs(path: Path) -> dict[int, PromptPair]:
    """The pairs in the `.jsonl` file `path` by line number; blank lines are skipped.

    Raises:
        SpecError: a line is not a prompt pair; names file and line.
    """
    content = read_bytes(path).removeprefix(codecs.BOM_UTF8)
    pairs = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        where = f"{display_path(path)}:{number}"
        if line.strip():
            pairs[number] = parse(_parse_line(line, where), PromptPair, where)
    if not pairs:
        raise SpecError("holds no prompt pair", where=display_path(path), fix=_FIX)
    return pairs


def _parse_line(line: bytes, where: str) -> Any:
    """The JSON value in `line`. Raises SpecError."""
    try:
        return json.loads(line.decode(), object_pairs_hook=_without_duplicates)
    except UnicodeDecodeError as error:
        raise SpecError("cannot be read: is not UTF-8 text", where=where) from error
    except json.JSONDecodeError as error:
        at = error.msg.removesuffix(" at")
        problem = f"is not JSON: {at} at column {error.colno}"
        raise SpecError(problem, where=where, fix=_FIX) from error
    except RecursionError as error:
        raise SpecError("is nested too deeply to be read", where=where, fix=_FIX) from error
    except SpecError as error:
        raise error.at(where) from None
    except ValueError as error:
        raise SpecError("holds a number of too many digits", where=where, fix=_FIX) from error


def _without_duplicates(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for key, value in items:
        if key in read:
            raise SpecError("is there twice", field=key, fix="keep one of the two")
        read[key] = value
    return read
