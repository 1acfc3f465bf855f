"""Heads of other models that score most alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acdc_pipeline.wiki.drawing.ruler import Ruler
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.roles import HeadIndex, Roles
from acdc_pipeline.wiki.scores import definition_of

_COMMONPLACE = frozenset(("sink", "current_token"))
"""Roles that so many heads have that sharing them says little."""

_SHOWN = 5
_PER_ROLE = 3
_CHUNK = 256


@dataclass(frozen=True)
class Neighbour:
    """A head of another model.

    Args:
        model: index among the models of the site.
        layer, head: which head.
        likeness: 1 - root mean square difference of the scores, each on the scale of its mosaic;
            1 is the same in every score.
    """

    model: int
    layer: int
    head: int
    likeness: float


def neighbours(
    models: Sequence[Model], rulers: Mapping[str, Ruler]
) -> list[dict[HeadIndex, tuple[Neighbour, ...]]]:
    """For each model the nearest heads of others, of every head with a telling role.

    Compared are the scores that need no task, each on the scale of its mosaic. Candidates are the
    three heads of each kind that lead it in their model.
    """
    metrics = [
        metric
        for metric in rulers
        if definition_of(metric).family in ("random tokens", "weights")
        and all(metric in model.scores for model in models if model.scores)
    ]
    found: list[dict[HeadIndex, tuple[Neighbour, ...]]] = [{} for _ in models]
    asking = [(m, place) for m, model in enumerate(models) for place in _telling(model.roles)]
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
        distance = _distances(here, there)
        distance[owner[None] == np.array([m for m, _ in some])[:, None]] = np.inf
        order = nearest_places(distance, _SHOWN)
        near = np.take_along_axis(distance, order, axis=1)
        for (m, place), columns, away in zip(some, order.tolist(), near.tolist(), strict=True):
            found[m][place] = tuple(
                Neighbour(*places[int(i)], round(1 - d, 2))
                for i, d in zip(columns, away, strict=True)
                if d < np.inf
            )
    return found


def _distances(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Root mean square differences between rows; in place, for there are very many."""
    distance = (-2 * here) @ there.T
    distance += (here**2).sum(1)[:, None]
    distance += (there**2).sum(1)[None]
    np.maximum(distance, 0, out=distance)
    distance /= here.shape[1]
    return np.sqrt(distance, out=distance)


def nearest_places(distance: np.ndarray, count: int) -> np.ndarray:
    """In each row the places of the `count` smallest, smallest first.

    Of numbers that are equal to four digits the first counts: the order does not hang on the last
    bit. All keys differ, so that it is enough to sort the smallest.
    """
    columns = distance.shape[1]
    rounded = np.minimum(distance, 1e6)
    rounded *= 1e4
    keys = np.rint(rounded, out=rounded).astype(np.int64)
    keys *= columns
    keys += np.arange(columns)
    few = np.partition(keys, min(count, columns) - 1, axis=1)[:, :count]
    return np.sort(few, axis=1) % columns


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


def _grids(model: Model, metrics: Sequence[str], rulers: Mapping[str, Ruler]) -> np.ndarray:
    """The scores of every head, each between 0 and 1; what was not measured stands at zero."""
    out = np.zeros((model.n_layers, model.n_heads, len(metrics)))
    for index, metric in enumerate(metrics):
        ruler = rulers[metric]
        if score := model.scores.get(metric):
            values = np.nan_to_num(score.values)
            out[..., index] = np.clip((values - ruler.low) / (ruler.high - ruler.low), 0, 1)
        else:
            out[..., index] = ruler.zero
    return out
