"""Reading and writing prompt files of auto-circuit: one JSON object that lists prompt pairs.

    {"prompts": [{"clean": …, "corrupt": …, "answers": […], "wrong_answers": […]}, …]}

Prompts and answers are all texts or all token ids. Further entries of such a file label positions
(`seq_labels`, `word_idxs`) and have no counterpart here. The loader of auto-circuit puts a
beginning-of-sequence token in front of texts by default; the file does not record it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.specs.files import display_path, read_bytes
from acdc_pipeline.specs.load import parse
from acdc_pipeline.specs.prompt_pair import PromptPair

NAMES: Mapping[str, str] = {
    "clean": "clean",
    "corrupt": "corrupted",
    "answers": "correct",
    "wrong_answers": "incorrect",
}
"""The field names of auto-circuit, and those of `PromptPair`."""

_ALLOWED = '{"prompts": [{"clean", "corrupt", "answers", "wrong_answers"}, …]}'


def read_auto_circuit(path: Path) -> tuple[PromptPair, ...]:
    """The pairs in an auto-circuit prompt file, in its order.

    Raises:
        SpecError: the file cannot be read or is not such a file; names the prompt.
    """
    where = display_path(path)
    try:
        document = read_json(read_bytes(path))
    except ValueError as error:
        raise SpecError(f"is not JSON: {error}", where=where, allowed=_ALLOWED) from error
    prompts = document.get("prompts") if isinstance(document, dict) else None
    if not isinstance(prompts, list) or not prompts:
        raise SpecError("lists no prompts", where=where, field="prompts", allowed=_ALLOWED)
    return tuple(_pair(row, f"{where}: prompts[{i}]") for i, row in enumerate(prompts))


def auto_circuit_document(pairs: Iterable[PromptPair]) -> dict[str, Any]:
    """`pairs` as the contents of an auto-circuit prompt file, without their roles."""
    return {
        "prompts": [
            {theirs: row[ours] for theirs, ours in NAMES.items()}
            for row in (pair.plain() for pair in pairs)
        ]
    }


def pair_lines(pairs: Iterable[PromptPair]) -> str:
    """`pairs` as the text of a `.jsonl` file."""
    kept = ({name: value for name, value in pair.plain().items() if value} for pair in pairs)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)


def _pair(row: Any, where: str) -> PromptPair:
    if not isinstance(row, dict):
        raise SpecError(f"{row!r} is not a prompt pair", where=where, allowed=_ALLOWED)
    if missing := [name for name in NAMES if name not in row]:
        raise SpecError("is missing", where=where, field=missing[0], allowed=_ALLOWED)
    return parse({ours: row[theirs] for theirs, ours in NAMES.items()}, PromptPair, where)
