"""Heads of two models matched one to one by what they do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from acdc_pipeline.wiki.models import HeadIndex, Model
from acdc_pipeline.wiki.scores import definition_of


def assign(costs: Float64[np.ndarray, "row column"]) -> Int64[np.ndarray, " row"]:
    """Return a column for each row, all different, with the least sum of costs.

    The Hungarian method by shortest augmenting paths (Jonker & Volgenant 1987, Computing 38). Rows
    may be fewer than columns. Costs have to be finite.
    """
    n_rows, n_columns = costs.shape
    if n_rows > n_columns:
        raise ValueError(f"{n_rows} rows cannot have {n_columns} different columns")
    row_price, column_price = np.zeros(n_rows), np.zeros(n_columns)
    row_of, column_of = np.full(n_columns, -1), np.full(n_rows, -1)
    for start in range(n_rows):
        shortest = np.full(n_columns, np.inf)
        before = np.full(n_columns, -1)
        is_open = np.ones(n_columns, bool)
        row, column, least = start, -1, 0.0
        while row >= 0:
            reached = least + costs[row] - row_price[row] - column_price
            better = is_open & (reached < shortest)
            shortest[better], before[better] = reached[better], row
            column = int(np.where(is_open, shortest, np.inf).argmin())
            least, row = float(shortest[column]), int(row_of[column])
            is_open[column] = False
        done = ~is_open
        passed = done & (row_of >= 0)
        row_price[start] += least
        row_price[row_of[passed]] += least - shortest[passed]
        column_price[done] -= least - shortest[done]
        while row != start:
            row = int(before[column])
            row_of[column] = row
            column, column_of[row] = int(column_of[row]), column
    return column_of


def match_heads(
    one: Model, places: Sequence[HeadIndex], other: Model, candidates: Sequence[HeadIndex]
) -> dict[HeadIndex, tuple[HeadIndex, float]]:
    """Return for each of `places` a different head of `other`, and how similar it is.

    The similarity is the correlation of two heads' scores on random tokens and from the weights,
    each score in standard deviations from its mean over all heads of both models. The assignment
    with the largest sum of similarities is chosen; heads with a similarity of 0 or less, and those
    for which no candidate is left, are not matched.
    """
    vectors = standardise(one, other)
    if vectors is None or not places or not candidates:
        return {}
    rows, columns = (
        _directions(v, at) for v, at in zip(vectors, (places, candidates), strict=True)
    )
    similar = rows @ columns.T
    # a head without a match costs as much as one of similarity 0
    costs = np.hstack([-similar, np.zeros((len(places), len(places)))])
    return {
        place: (candidates[column], float(similar[row, column]))
        for row, (place, column) in enumerate(zip(places, assign(costs).tolist(), strict=True))
        if column < len(candidates) and similar[row, column] > 0
    }


def standardise(one: Model, other: Model) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the scores of all heads of both models in standard deviations, [layer head score].

    Scores that need no task, and that both models have; missing values are at the mean. None for
    fewer than three scores.
    """
    metrics = [
        metric
        for metric in one.scores
        if metric in other.scores and definition_of(metric).family in ("random tokens", "weights")
    ]
    columns: list[tuple[np.ndarray, np.ndarray]] = []
    for metric in metrics:
        grids = one.scores[metric].values, other.scores[metric].values
        every = np.concatenate([grid.ravel() for grid in grids])
        every = every[np.isfinite(every)]
        if every.size and (spread := float(every.std())) > 0:
            middle = float(every.mean())
            a, b = (np.nan_to_num((grid - middle) / spread) for grid in grids)
            columns.append((a, b))
    if len(columns) < 3:
        return None
    first, second = zip(*columns, strict=True)
    return np.stack(first, -1), np.stack(second, -1)


def _directions(vectors: np.ndarray, places: Sequence[HeadIndex]) -> np.ndarray:
    chosen = np.stack([vectors[place] for place in places])
    norms = np.linalg.norm(chosen, axis=1, keepdims=True)
    return np.divide(chosen, norms, out=np.zeros_like(chosen), where=norms > 0)
