"""Head scores of one model as grids, and how a score is distributed over all models."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64

from acdc_pipeline.specs.head_scores import ROLES, SCORES, ScoreDefinition, parse_metric
from acdc_pipeline.wiki.text import pluralize

_LISTED = re.compile(r"\b([a-z]\w*@\d+(?::[^\s,;()]+)?) \([^)]*\)")
"""A metric with a note in parentheses."""

_METRIC = re.compile(r"\b([a-z]\w*)@\d+(?::([^\s,;()]+))?")
"""A metric in a text: the name of a score, its version, and its task if it has one."""

OTHER = "other scores"
"""Family of the scores that this version does not define."""

MIN_HEADS = 40
"""Number of heads from which percentiles are given: of fewer, none can be in the top 5 %."""

_SHARES = (0.01, 0.05, 0.25)

EVIDENCE_WORDS: Mapping[str, str] = {
    "weights": "what its matrices would do to a token, whether it looks there or not",
    "attention": "where it looks",
    "direct effect": "what its output adds to a logit, with nothing removed",
    "causal": "what changes when activations are replaced",
}
"""The words for evidence on every page, and their meanings, weakest first."""

_DIRECT = {"direct_effect", "copy_attribution", "anti_induction"}
"""Scores by direct logit attribution of the model as it is."""

INTERVAL_BITS = 16
"""Significant binary digits of the ends of intervals, which are random: within 2**-16 (1.5e-5)."""

Grid = Float64[np.ndarray, "layer head"]


@dataclass(frozen=True)
class Score:
    """One metric of every head of a model.

    Args:
        metric: name, version and, for a score on prompts, task: `direct_effect@1:ioi`.
        values: NaN where a head was not measured.
        low, high: ends of the bootstrap interval; NaN where there is none.
        n: number of samples averaged; 0 for a score computed from the weights.
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

    def map_grids(self, change: Callable[[Grid], Grid]) -> Score:
        """Return the score with each of its grids changed."""
        grids = {name: change(getattr(self, name)) for name in ("values", "low", "high")}
        return replace(self, **grids)


def round_to_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Round to significant binary digits; the last bytes are then 0, and compress well."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 2**bits), exponent - bits)


def read_scores(table: pa.Table) -> dict[str, Score]:
    """Return the scores in a table of heads by metric; grids end at its last layer and head."""
    metrics = table["metric"].combine_chunks().dictionary_encode()
    codes = np.from_dlpack(metrics.indices)
    layer, head = _to_numpy(table["layer"]), _to_numpy(table["head"])
    size = (int(layer.max()) + 1, int(head.max()) + 1) if len(layer) else (0, 0)
    columns = {name: _to_numpy(table[name]) for name in ("value", "ci_low", "ci_high", "n", "seed")}

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


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column without copying, NaN for nulls.

    `ChunkedArray.to_numpy` would import pandas, which takes longer than reading all columns.
    """
    if column.null_count:
        column = pc.fill_null(column.cast(pa.float64()), math.nan)
    return np.from_dlpack(column.combine_chunks())


def merge_scores(
    scores: Iterable[Mapping[str, Score]], n_layers: int, n_heads: int
) -> dict[str, Score]:
    """Merge the scores of several runs of a model; the first run with a metric counts.

    Grids are cut or padded with NaN to the size of the model.
    """
    out: dict[str, Score] = {}
    for part in scores:
        for metric, score in part.items():
            if metric not in out:
                out[metric] = score.map_grids(lambda grid: _resize(grid, n_layers, n_heads))
    return out


def _resize(grid: np.ndarray, n_layers: int, n_heads: int) -> np.ndarray:
    if grid.shape == (n_layers, n_heads):
        return grid
    sized = np.full((n_layers, n_heads), np.nan)
    part = grid[:n_layers, :n_heads]
    sized[: part.shape[0], : part.shape[1]] = part
    return sized


def task_of(metric: str) -> str | None:
    """Return the task in the name of a metric; None where it has none."""
    return metric.partition(":")[2] or None


def definition_of(metric: str) -> ScoreDefinition:
    """Return the definition of a metric; for an unknown one a placeholder with its name."""
    try:
        name, version, _ = parse_metric(metric)
    except ValueError:
        name, version = metric, 0
    known = SCORES.get(name)
    if known is not None and known.version == version:
        return known
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


def label_metrics(text: str) -> str:
    """Return a text with the titles of scores in place of their metrics: `attention@1:ioi`."""

    def label(found: re.Match[str]) -> str:
        name, task = found.groups()
        on = "" if task is None else f" on {task}"
        return f"“{SCORES[name].title}”{on}" if name in SCORES else found[0]

    return _METRIC.sub(label, text)


def only_metrics(text: str, shown: Set[str]) -> str:
    """Return a text that lists metrics, as `sink@1 (0.99 of 1), …`, with those in `shown` alone.

    Empty if none of them is; a text without such a list is returned as it is.
    """
    listed = list(_LISTED.finditer(text))
    kept = [item[0] for item in listed if item[1] in shown]
    if not listed or not kept:
        return "" if listed else text
    return text[: listed[0].start()] + ", ".join(kept)


def family_of(definition: ScoreDefinition) -> str:
    """Return what a score is measured on."""
    return definition.family if definition.formula else OTHER


def evidence_word(level: str, role: str) -> str:
    """Return the word for the evidence of a role; causal by direct logit attribution has its own.

    Nothing is ablated there: later layers may undo what a head adds to a logit.
    """
    definition = ROLES[role]
    scores = {
        criterion.score
        for criterion in (*definition.required, *definition.supporting)
        if criterion.evidence == "causal"
    }
    return "direct effect" if level == "causal" and scores and scores <= _DIRECT else level


def sort_metrics(metrics: Iterable[str]) -> list[str]:
    """Sort metrics in the order of their definitions, then by task; unknown ones last."""
    place = {score.key: index for index, score in enumerate(SCORES.values())}

    def key(metric: str) -> tuple[int, str, str]:
        name, _, task = metric.partition(":")
        return place.get(name, len(place)), name, task

    return sorted(set(metrics), key=key)


def group_by_family(metrics: Iterable[str]) -> dict[str, list[str]]:
    """Sort metrics, and group them by what they are measured on."""
    groups: dict[str, list[str]] = {}
    for metric in sort_metrics(metrics):
        groups.setdefault(family_of(definition_of(metric)), []).append(metric)
    return groups


def group_by_task(metrics: Iterable[str]) -> dict[str, list[str]]:
    """Group metrics as `group_by_family`, those on prompts by task (`on ioi`), which come last."""
    groups: dict[str, list[str]] = {}
    for family, members in group_by_family(metrics).items():
        for metric in members:
            task = task_of(metric)
            groups.setdefault(family if task is None else f"on {task}", []).append(metric)
    return dict(sorted(groups.items(), key=lambda group: task_of(group[1][0]) is not None))


@dataclass(frozen=True)
class Percentiles:
    """Where the highest and the lowest scores of all heads of all models begin.

    Only a few percentiles, rounded to two digits: they stay the same while models are added.

    Args:
        high: least value of the top 1 %, 5 % and 25 %; empty where there are too few heads.
        low: largest value of the lowest 1 %, 5 % and 25 %; empty where no score is negative.
    """

    high: tuple[float, ...]
    low: tuple[float, ...]
    median: float
    heads: int
    models: int

    def label(self, value: float) -> str:
        """Return `top 1 %` or `lowest 5 %`; empty for a value between the outer quarters.

        Compared in single precision, as the values that the bounds are made from.
        """
        rounded = np.float32(value)
        for share, bound in zip(_SHARES, self.high, strict=False):
            if rounded >= bound and rounded > self.median:
                return f"top {100 * share:g}\N{NARROW NO-BREAK SPACE}%"
        for share, bound in zip(_SHARES, self.low, strict=False):
            if rounded <= bound and rounded < min(0.0, self.median):
                return f"lowest {100 * share:g}\N{NARROW NO-BREAK SPACE}%"
        return ""

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...], float]:
        """All that `label` depends on."""
        return self.high, self.low, self.median

    def rank_labels(self, values: np.ndarray) -> np.ndarray:
        """Return numbers that are equal where `label` is, and increase with `values`."""
        values, found = values.astype(np.float32), np.zeros(values.shape, np.int8)
        for rank, bound in enumerate(reversed(self.low), start=1):
            found[(values <= bound) & (values < min(0.0, self.median))] = -rank
        for rank, bound in enumerate(reversed(self.high), start=1):
            found[(values >= bound) & (values > self.median)] = rank
        return found

    @property
    def population(self) -> str:
        """`1,024 heads of 4 models`."""
        return f"{pluralize(self.heads, 'head')} of {pluralize(self.models, 'model')}"


def compute_percentiles(grids: Iterable[np.ndarray]) -> Percentiles:
    """Compute the percentiles of one score over the grids of all models."""
    parts = [grid[np.isfinite(grid)] for grid in grids]
    values = np.concatenate(parts) if parts else np.zeros(0)
    models = sum(bool(part.size) for part in parts)
    if values.size < MIN_HEADS:
        return Percentiles((), (), 0.0, int(values.size), models)
    high = np.quantile(values, [1 - share for share in _SHARES])
    low = np.quantile(values, _SHARES) if values.min() < 0 else []
    return Percentiles(
        high=tuple(_round(v) for v in high),
        low=tuple(_round(v) for v in low),
        median=_round(float(np.median(values))),
        heads=int(values.size),
        models=models,
    )


def _round(value: float) -> float:
    return float(f"{value:.2g}")
