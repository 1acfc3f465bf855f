"""Places near the mean of what a head does, and weights of attention, as profiles store them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import UInt8

from acdc_pipeline.specs.head_scores import parse_metric

RANDOM_TOKENS = "random tokens"
"""The source of texts that are of no task."""


SHIFTED = "distance@0"
"""The metric of places at a fixed distance, of which no score is stored."""

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


def shift_typical(shown: Typical) -> tuple[int, float, Typical] | None:
    """Return the distance, of two or more tokens, at which most attention of a text is, if any.

    With its share of the attention, mean over the queries that far from the start, and the same
    texts with the tokens at that distance marked.
    """
    at = {position: index for index, position in enumerate(shown.texts[0].text.at)}

    def cells_of(text: TypicalText, distance: int) -> tuple[Cell, ...]:
        place = {position: index for index, position in enumerate(text.at)}
        pairs = ((place[q], place.get(q - distance)) for q in text.at)
        return tuple((q, k) for q, k in pairs if k is not None)

    shares: dict[int, float] = {}
    for distance in range(2, len(at) // 2):
        cells = cells_of(shown.texts[0].text, distance)
        if cells:
            shares[distance] = sum(int(shown.pattern[cell]) for cell in cells) / 255 / len(cells)
    if not shares:
        return None
    distance = max(shares, key=lambda distance: shares[distance])
    texts = []
    for one in shown.texts:
        cells = cells_of(one.text, distance)
        keys = [k for q, k in cells if q == one.query]
        if keys:
            text = replace(one.text, cells={SHIFTED: cells})
            texts.append(replace(one, text=text, value=float(one.weights[keys[0]]) / 255))
    if not texts or texts[0].text.tokens != shown.texts[0].text.tokens:
        return None
    return distance, shares[distance], replace(shown, metric=SHIFTED, texts=tuple(texts))


def parse_typical(
    document: Mapping[str, Any], head: str, known: dict[int, TypicalText]
) -> Iterator[Typical]:
    """Yield the examples of a head; none in profiles that have no such part.

    `known` are the texts of the document that were parsed, by number; others are added.

    Raises KeyError, TypeError, ValueError, IndexError or AttributeError if the part is malformed.
    """
    stored = document.get("typical")
    if stored is None:
        return
    for one in stored["heads"].get(head, ()):
        for place in one["texts"]:
            if place["text"] not in known:
                known[place["text"]] = _parse_text(stored["texts"][place["text"]])
        texts = tuple(_parse_place(known[place["text"]], place) for place in one["texts"])
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


def _parse_text(text: Mapping[str, Any]) -> TypicalText:
    tokens = tuple(map(str, text["tokens"]))
    cells = {
        str(metric): tuple((_index(q, tokens), _index(k, tokens)) for q, k in found)
        for metric, found in text["cells"].items()
    }
    at = tuple(map(int, text["at"]))
    if len(at) != len(tokens):
        raise ValueError(f"{len(at)} positions of {len(tokens)} tokens")
    return TypicalText(str(text["from"]), at, tokens, cells)


def _parse_place(text: TypicalText, one: Mapping[str, Any]) -> TypicalPlace:
    return TypicalPlace(
        text,
        _index(one["query"], text.tokens),
        float(one["value"]),
        _decode_weights(one["weights"], len(text.tokens)),
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
