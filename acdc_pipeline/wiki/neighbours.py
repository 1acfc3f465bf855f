"""Heads of other models that score most alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from acdc_pipeline.plotting.scales import ScoreScale
from acdc_pipeline.wiki.models import HeadIndex, Model, Roles
from acdc_pipeline.wiki.scores import definition_of

_COMMONPLACE = frozenset(("sink", "current_token"))
"""Roles that so many heads have that sharing them says little."""

_SHOWN = 5
_PER_ROLE = 3
_CHUNK = 64
"""Rows of the matrix of distances at a time: as many as stay in a processor's cache."""

_STEPS = 255
"""Scores are compared in whole steps of their scales: sums of squares are then whole numbers below
2^24, which 32-bit floats hold exactly, in whatever order a library adds them."""


class Neighbour(NamedTuple):
    """A head of another model.

    Args:
        model: index among the models of the site.
        layer, head: which head.
        likeness: 1 - root mean square difference of the scores, each in 255 steps on the scale of
            its mosaic; 1 is the same in every score.
    """

    model: int
    layer: int
    head: int
    likeness: float


def neighbours(
    models: Sequence[Model], rulers: Mapping[str, ScoreScale], which: Sequence[int]
) -> dict[int, dict[HeadIndex, tuple[Neighbour, ...]]]:
    """The nearest heads of other models, of every head with a telling role.

    Compared are the scores that need no task, each on the scale of its mosaic. Candidates are the
    three heads of each kind that lead it in their model.

    Args:
        models: all there are.
        rulers: the scale of each score.
        which: indexes of the models whose heads are asked about.
    """
    found: dict[int, dict[HeadIndex, tuple[Neighbour, ...]]] = {index: {} for index in which}
    if not which:
        return found
    metrics = [
        metric
        for metric in rulers
        if definition_of(metric).family in ("random tokens", "weights")
        and all(metric in model.scores for model in models if model.scores)
    ]
    asking = [(m, place) for m in which for place in _telling(models[m].roles)]
    answering = [(m, place) for m, model in enumerate(models) for place in _leaders(model.roles)]
    if len(metrics) < 3 or not answering or len({m for m, _ in answering}) < 2:
        return found
    grids = [_grids(model, metrics, rulers) for model in models]
    there = np.stack([grids[m][place] for m, place in answering])
    owner = np.array([m for m, _ in answering])
    places = [_place(answer) for answer in answering]
    for start in range(0, len(asking), _CHUNK):
        some = asking[start : start + _CHUNK]
        here = np.stack([grids[m][place] for m, place in some])
        distance = _squares(here, there)
        distance[owner[None] == np.array([m for m, _ in some])[:, None]] = np.inf
        order = nearest_places(distance, _SHOWN)
        near = np.take_along_axis(distance, order, axis=1)
        likeness = 1 - np.sqrt(near / len(metrics)) / _STEPS
        for (m, place), columns, alike in zip(some, order.tolist(), likeness.tolist(), strict=True):
            found[m][place] = tuple(
                Neighbour(*places[int(i)], round(value, 2))
                for i, value in zip(columns, alike, strict=True)
                if value > -np.inf
            )
    return found


def _squares(
    here: Float32[np.ndarray, "row metric"], there: Float32[np.ndarray, "column metric"]
) -> Float32[np.ndarray, "row column"]:
    """Squared distances between rows of whole numbers; in place, for there are very many."""
    distance = (-2 * here) @ there.T
    distance += (here**2).sum(1)[:, None]
    distance += (there**2).sum(1)[None]
    return distance


def nearest_places(
    distance: Float32[np.ndarray, "row column"], count: int
) -> Int64[np.ndarray, "row near"]:
    """In each row the places of the `count` smallest, smallest first; of equals the first counts.

    All of them where there are fewer.
    """
    rows, columns = distance.shape
    count = min(count, columns)
    furthest = np.partition(distance, count - 1, axis=1)[:, count - 1 : count]
    row, column = np.nonzero(distance <= furthest)
    order = np.lexsort((column, distance[row, column], row))
    # of equals at the end there may be more than wanted
    first = np.searchsorted(row, np.arange(rows))
    return column[order][first[:, None] + np.arange(count)]


def _place(answer: tuple[int, HeadIndex]) -> tuple[int, int, int]:
    model, (layer, head) = answer
    return model, layer, head


def _telling(roles: Roles) -> list[HeadIndex]:
    return [place for place, held in roles.items() if any(r.role not in _COMMONPLACE for r in held)]


def _leaders(roles: Roles) -> list[HeadIndex]:
    by_role: dict[str, list[tuple[float, HeadIndex]]] = {}
    for place, held in roles.items():
        for role in held:
            if role.role not in _COMMONPLACE:
                by_role.setdefault(role.role, []).append((-abs(role.value), place))
    return sorted({p for ranked in by_role.values() for _, p in sorted(ranked)[:_PER_ROLE]})


def _grids(
    model: Model, metrics: Sequence[str], rulers: Mapping[str, ScoreScale]
) -> Float32[np.ndarray, "layer head metric"]:
    """The scores of every head, each in steps; what was not measured stands at zero."""
    out = np.zeros((model.n_layers, model.n_heads, len(metrics)))
    for index, metric in enumerate(metrics):
        ruler = rulers[metric]
        if score := model.scores.get(metric):
            values = np.nan_to_num(score.values)
            out[..., index] = np.clip((values - ruler.low) / (ruler.high - ruler.low), 0, 1)
        else:
            out[..., index] = ruler.zero
    return np.rint(_STEPS * out).astype(np.float32)
