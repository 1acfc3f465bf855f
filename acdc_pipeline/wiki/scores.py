"""Scores of all heads of one model, as grids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64

from acdc_pipeline.specs.head_scores import SCORES, ScoreDefinition, parse_metric
from acdc_pipeline.wiki.numbers import counted

OTHER = "other scores"
"""The group of scores that this version does not define."""

Grid = Float64[np.ndarray, "layer head"]


@dataclass(frozen=True)
class Score:
    """One metric of every head of a model.

    Args:
        metric: name and version, and the task where it is of one: `induction@1`,
            `direct_effect@1:ioi`.
        values: NaN where a head was not measured: missing is not zero.
        low, high: ends of the bootstrap interval; NaN where there is none.
        n: samples it is a mean of; 0 if it is read from the weights.
        seed: seed of the samples.
    """

    metric: str
    values: Grid
    low: Grid
    high: Grid
    n: int
    seed: int

    @property
    def task(self) -> str | None:
        """The task on whose prompts it was measured; None for all others."""
        return task_of(self.metric)


def score_grids(table: pa.Table) -> dict[str, Score]:
    """The scores in a table of heads by metric, in grids that reach to its last layer and head."""
    metrics = table["metric"].combine_chunks().dictionary_encode()
    codes = np.from_dlpack(metrics.indices)
    layer, head = _numbers(table["layer"]), _numbers(table["head"])
    size = (int(layer.max()) + 1, int(head.max()) + 1) if len(layer) else (0, 0)
    columns = {name: _numbers(table[name]) for name in ("value", "ci_low", "ci_high", "n", "seed")}

    def grid(name: str, rows: np.ndarray) -> Grid:
        filled = np.full(size, np.nan)
        filled[layer[rows], head[rows]] = columns[name][rows].astype(np.float64)
        return filled

    out: dict[str, Score] = {}
    for code, metric in enumerate(metrics.dictionary.to_pylist()):
        rows = np.flatnonzero(codes == code)
        out[metric] = Score(
            metric,
            values=grid("value", rows),
            low=grid("ci_low", rows),
            high=grid("ci_high", rows),
            n=int(columns["n"][rows[0]]),
            seed=int(columns["seed"][rows[0]]),
        )
    return out


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column as it lies in memory, NaN where it holds nothing.

    `to_numpy` would import pandas, which takes longer than all the columns of a store.
    """
    if column.null_count:
        column = pc.fill_null(column.cast(pa.float64()), math.nan)
    return np.from_dlpack(column.combine_chunks())


def merged(scores: Iterable[Mapping[str, Score]], n_layers: int, n_heads: int) -> dict[str, Score]:
    """The scores of a model from those of its runs; where several measure one, the first counts.

    Grids get the size of the model: what a run does not reach is missing, what lies outside goes.
    """
    out: dict[str, Score] = {}
    for part in scores:
        for metric, score in part.items():
            if metric not in out:
                sized = {
                    name: _sized(getattr(score, name), n_layers, n_heads)
                    for name in ("values", "low", "high")
                }
                out[metric] = replace(score, **sized)
    return out


def _sized(grid: np.ndarray, n_layers: int, n_heads: int) -> np.ndarray:
    if grid.shape == (n_layers, n_heads):
        return grid
    sized = np.full((n_layers, n_heads), np.nan)
    part = grid[:n_layers, :n_heads]
    sized[: part.shape[0], : part.shape[1]] = part
    return sized


def task_of(metric: str) -> str | None:
    """The task in a metric's name, None where it has none."""
    return metric.partition(":")[2] or None


def definition_of(metric: str) -> ScoreDefinition:
    """What a metric means; one that this version does not know is only called by its name."""
    try:
        name, version, _ = parse_metric(metric)
    except ValueError:
        return _unknown(metric, 0)
    known = SCORES.get(name)
    return known if known is not None and known.version == version else _unknown(name, version)


def in_order(metrics: Iterable[str]) -> list[str]:
    """`metrics` in the order in which pages show them: as defined, tasks by name, unknown last."""
    place = {score.key: index for index, score in enumerate(SCORES.values())}

    def key(metric: str) -> tuple[int, str, str]:
        name, _, task = metric.partition(":")
        return place.get(name, len(place)), name, task

    return sorted(set(metrics), key=key)


def _unknown(name: str, version: int) -> ScoreDefinition:
    title = name.replace("_", " ").replace("-", " ")
    return replace(
        next(iter(SCORES.values())),
        name=name,
        version=version,
        title=title[:1].upper() + title[1:],
        claim="This version of the package does not define it.",
        formula="",
        source="",
        sign="",
        low=None,
        high=None,
        nulls=(),
    )


def by_family(metrics: Iterable[str]) -> Mapping[str, list[str]]:
    """`metrics` in order, grouped by what they are measured on."""
    groups: dict[str, list[str]] = {}
    for metric in in_order(metrics):
        groups.setdefault(family_of(definition_of(metric)), []).append(metric)
    return groups


def family_of(definition: ScoreDefinition) -> str:
    """What a score is measured on."""
    return definition.family if definition.formula else OTHER


_STEPS = (0.01, 0.05, 0.25)

LEAST_HEADS = 40
"""Of fewer heads nobody can be in the top 5 %."""


@dataclass(frozen=True)
class Standing:
    """Where the highest and the lowest scores begin.

    Args:
        high: the least value of the top 1 %, 5 % and 25 %; empty where there are too few heads.
        low: the largest value of the lowest 1 %, 5 % and 25 %; empty where no score is negative.
        middle: the median.
        heads: heads measured.
        models: models measured.
    """

    high: tuple[float, ...]
    low: tuple[float, ...]
    middle: float
    heads: int
    models: int

    def says(self, value: float) -> str:
        """`top 1 %`, `lowest 5 %`, empty for what is not remarkable."""
        for share, cut in zip(_STEPS, self.high, strict=False):
            if value >= cut and value > self.middle:
                return f"top {100 * share:g}\N{NARROW NO-BREAK SPACE}%"
        for share, cut in zip(_STEPS, self.low, strict=False):
            if value <= cut and value < min(0.0, self.middle):
                return f"lowest {100 * share:g}\N{NARROW NO-BREAK SPACE}%"
        return ""

    @property
    def among(self) -> str:
        """`1,024 heads of 4 models`."""
        return f"{counted(self.heads, 'head')} of {counted(self.models, 'model')}"


def standing(grids: Iterable[np.ndarray]) -> Standing:
    """The steps of one score over all models; cuts have two digits, so that they stay put."""
    parts = [grid[np.isfinite(grid)] for grid in grids]
    values = np.concatenate(parts) if parts else np.zeros(0)
    models = sum(bool(part.size) for part in parts)
    if values.size < LEAST_HEADS:
        return Standing((), (), 0.0, int(values.size), models)
    high = np.quantile(values, [1 - share for share in _STEPS])
    low = np.quantile(values, _STEPS) if values.min() < 0 else []
    return Standing(
        tuple(_two_digits(v) for v in high),
        tuple(_two_digits(v) for v in low),
        _two_digits(float(np.median(values))),
        int(values.size),
        models,
    )


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
