"""Prompt pairs that people bring: one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.base import Spec
from acdc_pipeline.specs.load import parse
from acdc_pipeline.specs.yaml_file import read_text, shown

Text = str | tuple[int, ...]
"""A prompt: text, or token ids taken as they are."""

_EXAMPLE = '{"clean": "…", "corrupted": "…", "correct": "…", "incorrect": "…"}'


def _listed(value: Any) -> Any:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Answer = Annotated[
    tuple[str | int, ...],
    BeforeValidator(_listed, json_schema_input_type=str | int | tuple[str | int, ...]),
]
"""Texts or token ids, any of which counts; a single one needs no list."""


class PromptPair(Spec):
    """A clean prompt, its counterfactual, and what should and should not follow."""

    clean: Annotated[Text, Field(description="a text or a list of token ids", min_length=1)]
    corrupted: Annotated[Text, Field(description="a text or a list of token ids", min_length=1)]
    correct: Annotated[Answer, Field(description="an answer or a list of them", min_length=1)]
    incorrect: Answer = ()


def read_pairs(path: Path) -> tuple[PromptPair, ...]:
    """The pairs in the `.jsonl` file `path`; blank lines are skipped.

    Raises:
        SpecError: naming file and line.
    """
    pairs = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        where = f"{shown(path)}:{number}"
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            at = error.msg.removesuffix(" at")
            problem = f"is not JSON: {at} at column {error.colno}"
            raise SpecError(problem, where=where, fix=f"write lines like {_EXAMPLE}") from error
        pairs.append(parse(data, PromptPair, where))
    if not pairs:
        raise SpecError(
            "holds no prompt pair",
            where=shown(path),
            fix=f"write lines like {_EXAMPLE}",
        )
    return tuple(pairs)
