"""Prompt files of auto-circuit, read and written: one JSON object that lists prompt pairs.

    {"prompts": [{"clean": …, "corrupt": …, "answers": […], "wrong_answers": […]}, …]}

Prompts and answers are texts, or all of them token ids. What else such a file holds labels
positions (`seq_labels`, `word_idxs`) and has no counterpart here. Its loader puts a
beginning-of-sequence token in front of texts unless it is told not to; the file does not say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from acdc_pipeline.errors import SpecError
from acdc_pipeline.json_text import read_json
from acdc_pipeline.specs.load import parse
from acdc_pipeline.specs.prompt_pair import PromptPair
from acdc_pipeline.specs.yaml_file import shown

NAMES: Mapping[str, str] = {
    "clean": "clean",
    "corrupt": "corrupted",
    "answers": "correct",
    "wrong_answers": "incorrect",
}
"""Their names, and ours."""

_ALLOWED = '{"prompts": [{"clean", "corrupt", "answers", "wrong_answers"}, …]}'


def read_auto_circuit(path: Path) -> tuple[PromptPair, ...]:
    """The pairs in an auto-circuit prompt file, in its order.

    Raises:
        SpecError: the file cannot be read, or holds something else; names which prompt.
    """
    where = shown(path)
    try:
        document = read_json(path.read_bytes())
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", where=where) from error
    except ValueError as error:
        raise SpecError(f"is not JSON: {error}", where=where, allowed=_ALLOWED) from error
    prompts = document.get("prompts") if isinstance(document, dict) else None
    if not isinstance(prompts, list) or not prompts:
        raise SpecError("lists no prompts", where=where, field="prompts", allowed=_ALLOWED)
    return tuple(_pair(row, f"{where}: prompts[{i}]") for i, row in enumerate(prompts))


def auto_circuit_document(pairs: Iterable[PromptPair]) -> dict[str, Any]:
    """`pairs` as an auto-circuit prompt file says them; what decides an answer is left out."""
    return {
        "prompts": [{theirs: row[ours] for theirs, ours in NAMES.items()} for row in _plain(pairs)]
    }


def pair_lines(pairs: Iterable[PromptPair]) -> str:
    """`pairs` as the `.jsonl` that tasks are made of."""
    kept = ({name: value for name, value in row.items() if value} for row in _plain(pairs))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)


def _plain(pairs: Iterable[PromptPair]) -> Iterable[dict[str, Any]]:
    return (pair.plain() for pair in pairs)


def _pair(row: Any, where: str) -> PromptPair:
    if not isinstance(row, dict):
        raise SpecError(f"{row!r} is not a prompt pair", where=where, allowed=_ALLOWED)
    if missing := [name for name in NAMES if name not in row]:
        raise SpecError("is missing", where=where, field=missing[0], allowed=_ALLOWED)
    return parse({ours: row[theirs] for theirs, ours in NAMES.items()}, PromptPair, where)
