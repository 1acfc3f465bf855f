"""Heads of other models with the most similar scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from acdc_pipeline.plotting.scales import ScoreScale
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.models import HeadIndex, Model, Roles, head_name
from acdc_pipeline.wiki.output import digest_of
from acdc_pipeline.wiki.scores import definition_of, task_of

COMMON_ROLES = frozenset(("sink", "current_token"))
"""Roles of so many heads that they do not make a head similar to another."""

_SHOWN = 5
_CANDIDATES_PER_ROLE = 3
_MIN_SCORES = 3
_ROWS_PER_CHUNK = 64
"""Rows of the distance matrix that fit into the cache of a processor."""

_GROUP = 32
"""Columns of which only the smallest value is looked at first."""

_STEPS = 255
"""Scores are rounded to this number of steps: sums of squares are then integers below 2^24, which
32-bit floats hold exactly, so that the result does not depend on the order of summation."""


class SimilarHead(NamedTuple):
    """A head of another model with similar scores.

    The similarity is 1 - root mean square difference of the scores, each divided by the range of
    its scale; 1 means equal.
    """

    title: str
    slug: str
    name: str
    similarity: float
    roles: str


def find_similar_heads(
    models: Sequence[Model], scales: Mapping[str, ScoreScale], which: Sequence[int]
) -> dict[int, dict[HeadIndex, tuple[SimilarHead, ...]]]:
    """Return the nearest heads of other models, for every head with a role that is not common.

    Distances are in the scores that need no task. Candidates are the three best heads of each role
    in each model. `which` are the indexes of the models for whose heads they are needed.
    """
    found: dict[int, dict[HeadIndex, tuple[SimilarHead, ...]]] = {index: {} for index in which}
    if not which:
        return found
    metrics = [
        metric
        for metric in scales
        if task_of(metric) is None
        and definition_of(metric).family in ("random tokens", "weights")
        and all(metric in model.scores for model in models if model.scores)
    ]
    candidates = [(m, place) for m, model in enumerate(models) for place in _leaders(model.roles)]
    owners = np.array([m for m, _ in candidates], dtype=np.int64)
    if len(metrics) < _MIN_SCORES or len(set(owners.tolist())) < 2:
        return found
    grids = [_quantize(model, metrics, scales) for model in models]
    named = [_name(models[m], place) for m, place in candidates]
    made: dict[tuple[int, float], SimilarHead] = {}
    columns = np.stack([grids[m][place] for m, place in candidates])
    # |a - b|² = |a|² + (-2a, 1) · (b, |b|²)
    factors = np.concatenate([columns, (columns**2).sum(1, keepdims=True)], axis=1).T
    for m in which:
        places = [
            place
            for place, held in models[m].roles.items()
            if any(role.role not in COMMON_ROLES for role in held)
        ]
        own = slice(*np.searchsorted(owners, [m, m + 1]))
        for start in range(0, len(places), _ROWS_PER_CHUNK):
            chunk = places[start : start + _ROWS_PER_CHUNK]
            rows = np.stack([grids[m][place] for place in chunk])
            distances = np.concatenate([-2 * rows, np.ones_like(rows[:, :1])], axis=1) @ factors
            distances[:, own] = np.inf
            nearest = smallest_columns(distances, _SHOWN)
            near = np.take_along_axis(distances, nearest, axis=1)
            near += (rows**2).sum(1, keepdims=True)
            similarities = 1 - np.sqrt(near / len(metrics)) / _STEPS
            # exact in 64 bits, so that halves are rounded as in decimals
            percents = np.rint(100 * similarities.astype(np.float64))
            for place, indexes, values in zip(
                chunk, nearest.tolist(), percents.tolist(), strict=True
            ):
                keys = [k for k in zip(indexes, values, strict=True) if k[1] > -np.inf]
                for key in keys:
                    if key not in made:
                        made[key] = named[key[0]]._replace(similarity=key[1] / 100)
                found[m][place] = tuple([made[key] for key in keys])
    return found


def digest_nearest(
    nearest: Mapping[HeadIndex, tuple[SimilarHead, ...]], known: dict[SimilarHead, str]
) -> dict[str, str]:
    """Return a digest of each list by name of the head.

    `known` has the texts of heads that were met before, which are in many lists.
    """
    found = {}
    for place, near in nearest.items():
        for head in near:
            if head not in known:
                known[head] = repr(head)
        text = ", ".join([known[head] for head in near])
        found[head_name(*place)] = digest_of(text.encode("utf-8", "surrogatepass"))[:12]
    return found


def smallest_columns(
    values: Float32[np.ndarray, "row column"], count: int
) -> Int64[np.ndarray, "row near"]:
    """Return the columns of the `count` smallest values of each row, in order; of equal values the
    first counts.

    Returns all columns if there are fewer than `count`.
    """
    rows, columns = values.shape
    count = min(count, columns)
    # the smallest values of `width` groups bound the `count`-th smallest of all from above
    width = columns // _GROUP
    groups = values
    if width >= count:
        groups = values[:, : width * _GROUP].reshape(rows, _GROUP, width).min(axis=1)
    largest = np.partition(groups, count - 1, axis=1)[:, count - 1 : count]
    # twice as fast as `nonzero` of a matrix
    row, column = np.divmod(np.flatnonzero(values <= largest), columns)
    order = np.lexsort((column, values[row, column], row))
    # a row has more than `count` entries where the bound is larger, or several equal it
    first = np.searchsorted(row, np.arange(rows))
    return column[order][first[:, None] + np.arange(count)]


def _name(model: Model, place: HeadIndex) -> SimilarHead:
    """Return a head without its similarity."""
    titles = dict.fromkeys(ROLES[role.role].title for role in model.roles[place][:2])
    return SimilarHead(model.title, model.slug, head_name(*place), 0.0, ", ".join(titles))


def _leaders(roles: Roles) -> list[HeadIndex]:
    """Return the best heads of each role of a model."""
    by_role: dict[str, list[tuple[float, HeadIndex]]] = {}
    for place, held in roles.items():
        for role in held:
            if role.role not in COMMON_ROLES:
                by_role.setdefault(role.role, []).append((-abs(role.value), place))
    best = (sorted(ranked)[:_CANDIDATES_PER_ROLE] for ranked in by_role.values())
    return sorted({place for ranked in best for _, place in ranked})


def _quantize(
    model: Model, metrics: Sequence[str], scales: Mapping[str, ScoreScale]
) -> Float32[np.ndarray, "layer head metric"]:
    """Return the scores of every head in steps of their scales; 0 for missing scores."""
    out = np.zeros((model.n_layers, model.n_heads, len(metrics)))
    for index, metric in enumerate(metrics):
        scale = scales[metric]
        if score := model.scores.get(metric):
            values = np.nan_to_num(score.values)
            out[..., index] = np.clip((values - scale.low) / (scale.high - scale.low), 0, 1)
        else:
            out[..., index] = scale.zero
    return np.rint(_STEPS * out).astype(np.float32)
