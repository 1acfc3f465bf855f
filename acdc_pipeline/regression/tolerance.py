"""How far a fresh run may be from its baseline: as far as other samples of prompts are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from acdc_pipeline.regression.distance import EDGES, HEADS, RANKING, SIZE, distances
from acdc_pipeline.regression.finding import Finding
from acdc_pipeline.specs import Spec

LEAST_SEEDS = 5
"""Fewer other samples say too little about how much they scatter."""

LEAST_OF_METRIC = 1e-3
"""What a metric may always move, relative to its size where that is above 1: sums of 32-bit
numbers in another order differ by about 1e-6, and an edge at the threshold that falls the other
way moves a metric by more."""

LEAST_OF_RANKING = 0.05
"""What 1 - Spearman's correlation may always be: neighbours in the order may change places."""


class Tolerance(Spec):
    """What was measured, and the limits that follow.

    Args:
        seeds: of the other samples of prompts.
        measured: for each statistic its distance from the baseline, in the order of `seeds`;
            null where that sample has none.
        limits: the largest distance of each statistic that is no drift.
    """

    seeds: tuple[int, ...] = Field(min_length=LEAST_SEEDS)
    measured: dict[str, tuple[float | None, ...]]
    limits: dict[str, Annotated[float, Field(ge=0)]]


def tolerance(reference: Finding, others: Mapping[int, Finding]) -> Tolerance:
    """The tolerance of a baseline.

    A limit is the largest of the measured distances: what no other sample of prompts does is
    drift. It is never below what rounding can do, see `floor`.

    Args:
        reference: what the baseline holds.
        others: what was found with other seeds, at least `LEAST_SEEDS` of them.
    """
    rows = [distances(reference, finding) for finding in others.values()]
    names = dict.fromkeys(name for row in rows for name in row)
    largest = {name: max(row[name] for row in rows if name in row) for name in names}
    return Tolerance(
        seeds=tuple(others),
        measured={name: tuple(_short(row.get(name)) for row in rows) for name in names},
        limits={name: max(floor(name, reference), largest[name]) for name in names},
    )


def floor(statistic: str, reference: Finding) -> float:
    """The distance that is never drift: one edge in the place of another, or rounding.

    A circuit of n edges that loses one and gains one shares n - 1 of n + 1, a distance of
    2 / (n + 1); one of n heads that gains one shares n of n + 1.
    """
    if statistic == EDGES:
        return 2 / (len(reference.circuit) + 1)
    if statistic == HEADS:
        return 1 / (len(reference.heads) + 1)
    if statistic == SIZE:
        return 1.0
    if statistic == RANKING:
        return LEAST_OF_RANKING
    return LEAST_OF_METRIC * max(1.0, abs(reference.metrics[statistic]))


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
