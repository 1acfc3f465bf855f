"""Files of ordinary text: one document each, or one in each line of a `.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs.base import sha256_of_parts

MAX_CHARACTERS = 4_000_000
"""The most that is read of a file: some forty times what 20,000 tokens need."""

KEY = "text"
"""The key of a document in a line of a `.jsonl`."""


@dataclass(frozen=True)
class NamedText:
    """The documents of a file, whose name is for display.

    Args:
        cut: whether the file has more than was read.
    """

    name: str
    documents: tuple[str, ...]
    cut: bool = False


def read_texts(paths: Sequence[Path], field: str) -> tuple[NamedText, ...]:
    """Read text files, of each the first `MAX_CHARACTERS` characters at most.

    Raises:
        InvalidInput: a file cannot be read, is not UTF-8, has no text, or is there twice; or a line
            of a `.jsonl` is not an object with a text under `text`.
    """
    found = tuple(_read(path, field) for path in paths)
    names = [text.name for text in found]
    for path, name in zip(paths, names, strict=True):
        if names.count(name) > 1:
            raise InvalidInput(
                "two texts have this name", where=str(path), field=field, fix="rename one of them"
            )
    return found


def hash_texts(texts: Sequence[NamedText]) -> str:
    """Return a sha256 of the documents of all texts, whatever the names of the files."""
    parts = (json.dumps(text.documents, ensure_ascii=True).encode("ascii") for text in texts)
    return sha256_of_parts(part for text in parts for part in (text, b"\n"))


def _read(path: Path, field: str) -> NamedText:
    try:
        with path.open(encoding="utf-8-sig", newline=None) as file:
            content = file.read(MAX_CHARACTERS)
            cut = bool(file.read(1))
    except UnicodeDecodeError:
        raise InvalidInput("is not text in UTF-8", where=str(path), field=field) from None
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise InvalidInput(problem, where=str(path), field=field) from error
    documents = (content,)
    if path.suffix == ".jsonl":
        lines = content.split("\n")
        documents = tuple(_lines(lines[:-1] if cut else lines, path, field))
    documents = tuple(document for document in documents if document.strip())
    if not documents:
        raise InvalidInput("is empty", where=str(path), field=field)
    return NamedText(path.name, documents, cut)


def _lines(lines: Sequence[str], path: Path, field: str) -> Iterator[str]:
    """Yield the document of each line."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            document = row[KEY]
        except (ValueError, KeyError, TypeError):
            document = None
        if not isinstance(document, str):
            raise InvalidInput(
                f"line {number} has no text",
                where=str(path),
                field=field,
                allowed=f'lines like {{"{KEY}": "…"}}',
                fix="give any other file of text with another ending than .jsonl",
            )
        yield document
