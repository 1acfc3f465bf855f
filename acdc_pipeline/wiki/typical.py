"""Places near the mean of what a head does, and weights of attention, as profiles store them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from acdc_pipeline.specs.head_scores import parse_metric

RANDOM_TOKENS = "random tokens"
"""The source of texts that are of no task."""

Cell = tuple[int, int]
"""Query and key, as indices of the tokens of a text."""


@dataclass(frozen=True)
class TypicalText:
    """A text of which some tokens are shown.

    Args:
        source: a task, or `random tokens`.
        at: the position of each token.
        cells: by metric, the queries and keys that its score is about.
    """

    source: str
    at: tuple[int, ...]
    tokens: tuple[str, ...]
    cells: Mapping[str, tuple[Cell, ...]]


@dataclass(frozen=True)
class TypicalPlace:
    """A query in a text, its attention to the tokens, and the value of the score there."""

    text: TypicalText
    query: int
    value: float
    weights: UInt8[np.ndarray, " token"]


@dataclass(frozen=True)
class Typical:
    """The places nearest to the mean of a score of a head.

    Args:
        places: number of places among which they were chosen.
        low, high: 10th and 90th percentile of the score over these.
        first: mean attention from these to the first token.
        texts: the chosen ones, whose rows have the means nearest to the score first.
        pattern: attention between the tokens of the first text; 255 means 1.
    """

    metric: str
    places: int
    low: float
    high: float
    first: float
    texts: tuple[TypicalPlace, ...]
    pattern: UInt8[np.ndarray, "token token"]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of the pattern that the score is about."""
        return self.texts[0].text.cells.get(self.metric, ())


def parse_typical(document: Mapping[str, Any], head: str) -> Iterator[Typical]:
    """Yield the examples of a head; none in profiles that have no such part.

    Raises KeyError, TypeError, ValueError, IndexError or AttributeError if the part is malformed.
    """
    stored = document.get("typical")
    if stored is None:
        return
    for one in stored["heads"].get(head, ()):
        texts = tuple(_parse_place(stored["texts"][p["text"]], p) for p in one["texts"])
        low, high = map(float, one["range"])
        parse_metric(one["metric"])
        size = len(texts[0].text.tokens)
        pattern = decode_square(one["pattern"], size)
        yield Typical(
            str(one["metric"]),
            int(one["places"]),
            low,
            high,
            float(one["first"]),
            texts,
            pattern,
        )


def _parse_place(text: Mapping[str, Any], one: Mapping[str, Any]) -> TypicalPlace:
    tokens = tuple(map(str, text["tokens"]))
    cells = {
        str(metric): tuple((_index(q, tokens), _index(k, tokens)) for q, k in found)
        for metric, found in text["cells"].items()
    }
    at = tuple(map(int, text["at"]))
    if len(at) != len(tokens):
        raise ValueError(f"{len(at)} positions of {len(tokens)} tokens")
    return TypicalPlace(
        TypicalText(str(text["from"]), at, tokens, cells),
        _index(one["query"], tokens),
        float(one["value"]),
        _decode_weights(one["weights"], len(tokens)),
    )


def _index(value: Any, tokens: tuple[str, ...]) -> int:
    if not 0 <= (index := int(value)) < len(tokens):
        raise ValueError(f"position {index} in {len(tokens)} tokens")
    return index


def decode_square(encoded: str, size: int) -> UInt8[np.ndarray, "pos pos"]:
    """Decode the weights between `size` tokens or spans: base64 of a byte each, 255 for 1.

    Raises ValueError if it is none.
    """
    return _decode_weights(encoded, size * size).reshape(size, size)


def _decode_weights(encoded: str, count: int) -> UInt8[np.ndarray, " weight"]:
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    if len(data) != count:
        raise ValueError(f"{len(data)} weights, not {count}")
    return np.frombuffer(data, np.uint8)
