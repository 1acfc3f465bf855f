"""Texts in which a head does something: in each decile of its activation, and at the ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from acdc_pipeline.specs.methods.text import DECILES

PER_DECILE = 3
"""Examples of a decile, drawn with the same chance from all tokens in it."""

LARGEST = 5
"""Examples with the largest activation."""

PER_END = 3
"""Examples at each end of a component."""

KEYS = 3
"""The number of keys stored with an example: those with the most attention."""

LEAST_WEIGHT = 8
"""The least attention of a stored key, of 255."""


@dataclass(frozen=True)
class Places:
    """The counted queries, in the order of contexts and positions."""

    row: Int[np.ndarray, " place"]
    query: Int[np.ndarray, " place"]


def decile_members(
    activation: Float[np.ndarray, " place"],
) -> list[Int[np.ndarray, " _"]]:
    """Split all places into ten parts by activation, the smallest first, of equal size but for 1.

    Places of the same activation are in the order of the text.
    """
    order = np.argsort(activation, kind="stable")
    return np.array_split(order, DECILES)


def draw_deciles(
    activation: Float[np.ndarray, " place"], seed: Sequence[int]
) -> list[Int[np.ndarray, " _"]]:
    """Draw `PER_DECILE` places of each decile, without replacement, smallest activation first."""
    draw = np.random.default_rng(list(seed))
    return [
        members[np.sort(draw.choice(len(members), min(PER_DECILE, len(members)), replace=False))]
        for members in decile_members(activation)
    ]


def furthest(
    values: Float[np.ndarray, " place"], row: Int[np.ndarray, " place"], n: int
) -> list[int]:
    """The places of the `n` largest values, at most one of each context, the largest first."""
    chosen: dict[int, int] = {}
    # Enough for n contexts in nearly every case; else all places.
    for size in (64 * n, len(values)):
        some = np.arange(len(values))
        if size < len(values):
            some = np.sort(np.argpartition(-values, size)[:size])
        chosen = {}
        for place in some[np.argsort(-values[some], kind="stable")]:
            chosen.setdefault(int(row[place]), int(place))
            if len(chosen) == n:
                return list(chosen.values())
    return list(chosen.values())


def example(places: Places, place: int, pattern: UInt8[np.ndarray, "context pos pos"]) -> list[Any]:
    """An example as JSON data: context, query, and its strongest keys with their attention."""
    row, query = int(places.row[place]), int(places.query[place])
    weights = pattern[row, query]
    strongest = np.argsort(-weights.astype(np.int16), kind="stable")[:KEYS]
    keys = [[int(key), int(weights[key])] for key in strongest if weights[key] >= LEAST_WEIGHT]
    return [row, query, keys]
