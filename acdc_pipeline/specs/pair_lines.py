"""The pairs of a `.jsonl` file as checked text, for files of any length.

A pair of the specification takes several times the memory of its line, and a run reads a few of a
million. So every line is checked when the file is read, kept as canonical JSON, which is also what
the hash of a task covers, and becomes a pair when it is used.
"""

from __future__ import annotations

import codecs
import io
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.base import CANONICAL
from acdc_pipeline.specs.files import display_path, read_bytes
from acdc_pipeline.specs.load import parse
from acdc_pipeline.specs.prompt_pair import PromptPair

LOG_EVERY = 3.0
"""Seconds between two log records about the progress of a long file."""

Labels = dict[str, dict[str, Any]]
"""The roles and the names of spans of a pair, as plain data; each if there are any."""

_FIX = 'write lines like {"clean": "…", "corrupted": "…", "correct": "…", "incorrect": "…"}'

_LOG = logging.getLogger(__name__)
_AT_ONCE = 4096
_SIMPLE = {"clean", "corrupted", "correct", "incorrect"}


class PairLines(Sequence[PromptPair]):
    """The checked pairs of a file.

    Args:
        texts: each pair as canonical JSON, without its labels; see `PromptPair.split_labels`.
        labels: the labels of the pairs that have any, by index.
    """

    def __init__(self, texts: list[bytes], labels: dict[int, Labels]) -> None:
        self.texts, self._labels = texts, labels

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, index: int) -> PromptPair: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[PromptPair, ...]: ...
    def __getitem__(self, index: int | slice) -> PromptPair | tuple[PromptPair, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        place = range(len(self))[index]
        labels = self._labels.get(place)
        if labels is None:
            return PromptPair.model_validate_json(self.texts[place], strict=True)
        return PromptPair.from_plain(_with_labels(json.loads(self.texts[place]), labels))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PairLines):
            return self.texts == other.texts and self._labels == other._labels
        if isinstance(other, tuple):
            return len(self) == len(other) and all(map(PromptPair.__eq__, self, other))
        return NotImplemented

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def plain(self) -> list[dict[str, Any]]:
        """The pairs as JSON-ready data."""
        return [
            _with_labels(json.loads(text), {"roles": {}} | self._labels.get(i, {}))
            for i, text in enumerate(self.texts)
        ]

    def __repr__(self) -> str:
        return f"<{len(self):,} prompt pairs>"


def hashed_chunks(pairs: Sequence[PromptPair]) -> Iterator[bytes]:
    """Yield the canonical JSON of the list of pairs, without their labels, in parts."""
    yield b"["
    for first in range(0, len(pairs), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        texts = pairs.texts[part] if isinstance(pairs, PairLines) else map(_text, pairs[part])
        yield (b"," if first else b"") + b",".join(texts)
    yield b"]"


def read_pair_lines(path: Path) -> tuple[PairLines, tuple[int, ...]]:
    """Return the pairs in the `.jsonl` file `path`, and the number of the line of each.

    Blank lines are skipped. Log records tell how far a long file has been read.

    Raises:
        SpecError: a line is not a prompt pair; names file and line.
    """
    content = read_bytes(path).removeprefix(codecs.BOM_UTF8)
    where = display_path(path)
    texts: list[bytes] = []
    numbers: list[int] = []
    labels: dict[int, Labels] = {}
    last = time.monotonic()
    lines = io.BytesIO(content)
    for number, line in enumerate(lines, start=1):
        if number % _AT_ONCE == 0 and time.monotonic() - last >= LOG_EVERY:
            last = time.monotonic()
            _LOG.info("reading %s: %d lines (%.0f %%)", where, number, _percent(lines, content))
        if not line.strip():
            continue
        place = f"{where}:{number}"
        text, own = _check(_parse_line(line.removesuffix(b"\n"), place), place)
        if own:
            labels[len(texts)] = own
        texts.append(text)
        numbers.append(number)
    if not texts:
        raise SpecError("holds no prompt pair", where=where, fix=_FIX)
    return PairLines(texts, labels), tuple(numbers)


def read_pairs(path: Path) -> dict[int, PromptPair]:
    """Return the pairs in the `.jsonl` file `path` by line number. Raises SpecError."""
    pairs, numbers = read_pair_lines(path)
    return dict(zip(numbers, pairs, strict=True))


def _percent(lines: io.BytesIO, content: bytes) -> float:
    return 100 * lines.tell() / len(content)


def _check(data: Any, where: str) -> tuple[bytes, Labels]:
    """Return the canonical JSON of a pair without its labels, and these. Raises SpecError."""
    if (plain := _simple(data)) is not None:
        try:
            return CANONICAL.encode(plain).encode(), {}
        except UnicodeEncodeError:
            pass  # half of a surrogate pair, which `parse` names
    pair = parse(data, PromptPair, where)
    plain, labels = pair.split_labels()
    return CANONICAL.encode(plain).encode(), labels


def _text(pair: PromptPair) -> bytes:
    return CANONICAL.encode(pair.split_labels()[0]).encode()


def _with_labels(plain: dict[str, Any], labels: Labels) -> dict[str, Any]:
    """Return the plain data of a pair with its labels."""
    spans = plain.get("spans", {}) | labels.get("spans", {})
    return plain | labels | ({"spans": spans} if spans else {})


def _simple(data: Any) -> dict[str, Any] | None:
    """Return the plain data of a valid pair without options; None if `data` may be anything else.

    `parse` accepts the same and more, and takes ten times as long.
    """
    if type(data) is not dict or not data.keys() <= _SIMPLE:
        return None
    plain = {"incorrect": [], **data}
    for side in ("clean", "corrupted"):
        value = plain.get(side)
        if not value or not (type(value) is str or _list_of(value, (int,))):
            return None
    for side in ("correct", "incorrect"):
        value = plain.get(side)
        if type(value) in (str, int):
            plain[side] = [value]
        elif not _list_of(value, (str, int)):
            return None
    correct, incorrect = plain["correct"], plain["incorrect"]
    if not correct or any(answer in correct for answer in incorrect):
        return None
    return plain


def _list_of(value: Any, kinds: tuple[type, ...]) -> bool:
    return type(value) is list and all(type(one) in kinds for one in value)


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
