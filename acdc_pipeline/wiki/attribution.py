"""Why heads attend, as profiles store it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from acdc_pipeline.graph.edge import SLOTS, Slot
from acdc_pipeline.heads.source_names import BIAS, DISTANCE, POSITION, REST, TOKEN, parse_source
from acdc_pipeline.specs.head_scores import parse_metric

VERSION = 1
"""Version of the stored form."""

TEXT_OF_SOURCE: Mapping[str, str] = {
    TOKEN: "its token",
    POSITION: "its position",
    DISTANCE: "how far away it is",
    BIAS: "biases",
    REST: "other sources",
}
"""What a source that is no node is called in a sentence about a key."""

Parts = tuple[tuple[str, float], ...]
"""Sources with their contributions, the largest first."""


@dataclass(frozen=True)
class Attributed:
    """The attention from one token to another as sums over sources.

    Args:
        metric: the score whose first typical text is attributed.
        query, key: position and token.
        weight: the attention.
        score: the attention score of the key above the mean of the other keys.
        parts: by slot: contributions to `score` of what queries and keys read, and shares of the
            output of what values read.
        pairs: names of the sources of the query, of those of the key, and a row for each of the
            first.
        tokens: position, token, and the share of the output that is read there.
        raises, lowers: tokens with the direct effects on their logits.
        answer: a right answer, and the direct effect on its logit over wrong ones.
    """

    metric: str
    query: tuple[int, str]
    key: tuple[int, str]
    weight: float
    score: float
    parts: Mapping[Slot, Parts]
    pairs: tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[float, ...], ...]]
    tokens: tuple[tuple[int, str, float], ...]
    raises: Parts
    lowers: Parts
    answer: tuple[str, float] | None


def parse_attributions(document: Mapping[str, Any], head: str) -> Iterator[Attributed]:
    """Yield what is stored of a head; nothing in profiles of another version or without it.

    Raises KeyError, TypeError, ValueError, IndexError or GraphError if the part is malformed.
    """
    stored = document.get("attribution")
    if stored is None or stored["version"] != VERSION:
        return
    for one in stored["heads"].get(head, ()):
        parse_metric(one["metric"])
        pairs = one["pairs"]
        rows = tuple(map(_numbers, pairs["values"]))
        query, key = (tuple(map(parse_source, pairs[side])) for side in ("query", "key"))
        if len(rows) != len(query) or any(len(row) != len(key) for row in rows):
            raise ValueError(f"pairs of {len(query)} and {len(key)} sources do not fit their names")
        answer = one.get("answer")
        yield Attributed(
            metric=str(one["metric"]),
            query=_place(one["query"]),
            key=_place(one["key"]),
            weight=_number(one["weight"]),
            score=_number(one["score"]),
            parts={
                slot: _parts(one[part], parse_source)
                for slot, part in zip(SLOTS, ("by_query", "by_key", "by_value"), strict=True)
            },
            pairs=(query, key, rows),
            tokens=tuple((int(at), str(text), _number(v)) for at, text, v in one["by_token"]),
            raises=_parts(one["raises"], str),
            lowers=_parts(one["lowers"], str),
            answer=None if answer is None else (str(answer[0]), _number(answer[1])),
        )


def _number(value: Any) -> float:
    return _numbers((value,))[0]


def _numbers(values: Any) -> tuple[float, ...]:
    numbers = tuple(map(float, values))
    if not all(map(isfinite, numbers)):
        raise ValueError(f"{list(values)} are not all finite")
    return numbers


def _place(value: Any) -> tuple[int, str]:
    position, token = value
    return int(position), str(token)


def _parts(found: Any, parse: Callable[[Any], str]) -> Parts:
    if not found:
        return ()
    names, values = zip(*found, strict=True)
    return tuple(zip(map(parse, names), _numbers(values), strict=True))
