"""Prompt pairs in a `.jsonl` file: one JSON object per line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

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
    return as_tuple(value)


Answer = Annotated[
    tuple[str | int, ...],
    BeforeValidator(_listed, json_schema_input_type=str | int | tuple[str | int, ...]),
]
"""Texts or token ids, any of which counts; a single one need not be a list."""


class PromptPair(Spec):
    """A clean prompt, its counterfactual, and the correct and incorrect answers."""

    clean: Annotated[Text, Field(description="a text or a list of token ids", min_length=1)]
    corrupted: Annotated[Text, Field(description="a text or a list of token ids", min_length=1)]
    correct: Annotated[Answer, Field(description="an answer or a list of them", min_length=1)]
    incorrect: Answer = ()
    roles: Annotated[
        Mapping[str, str],
        Field(description="what decides the answer: pairs that agree in it may be exchanged"),
    ] = {}

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
