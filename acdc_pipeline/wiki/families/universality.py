"""How common a kind of head is: in how many models, and in how many unrelated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from acdc_pipeline.graph.consensus import wilson_interval
from acdc_pipeline.specs.head_scores import (
    ROLES,
    SATURATED,
    SCORES,
    Criterion,
    RoleDefinition,
    metric_key,
)
from acdc_pipeline.wiki.families.find import Family, earlier_checkpoints, group_related
from acdc_pipeline.wiki.models import HeadIndex, Model

DEPTHS = 5
"""Parts of equal depth into which the layers of a model are divided."""


@dataclass(frozen=True)
class Universality:
    """The models with at least one head of a kind.

    Args:
        having: the models with such a head.
        lacking: the models without one, although their scores could show it.
        unmeasured: models without the scores or nulls of the kind, with nulls near
            the highest possible value, or with heads never profiled.
        groups: number of groups of related models of which one is in `having` or `lacking`.
        groups_having: groups of which at least half of the models have such a head.
    """

    having: tuple[Model, ...]
    lacking: tuple[Model, ...]
    unmeasured: tuple[Model, ...]
    groups: int
    groups_having: int

    @property
    def measured(self) -> int:
        return len(self.having) + len(self.lacking)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % Wilson interval of the share of models, as if they were independent."""
        return wilson_interval(len(self.having), self.measured) if self.measured else None

    @property
    def group_interval(self) -> tuple[float, float] | None:
        """The same of the share of groups, which are not related."""
        return wilson_interval(self.groups_having, self.groups) if self.groups else None


def universality(
    role: RoleDefinition, models: Sequence[Model], families: Sequence[Family]
) -> Universality:
    """Count the models with a head of a kind.

    A role implies the more general one (`special_of`) on its task. Of the checkpoints of a training
    only the last counts.
    """
    earlier = earlier_checkpoints(families)
    counted = [model for model in models if model.slug not in earlier]
    names = names_of(role)
    having, lacking, unmeasured = [], [], []
    for model in counted:
        if not is_measured(role, model):
            unmeasured.append(model)
        elif model.kinds & names:
            having.append(model)
        else:
            lacking.append(model)
    with_it = {model.slug for model in having}
    groups = group_related([*having, *lacking], families)
    return Universality(
        tuple(having),
        tuple(lacking),
        tuple(unmeasured),
        len(groups),
        sum(2 * sum(m.slug in with_it for m in group) >= len(group) for group in groups),
    )


def names_of(role: RoleDefinition) -> frozenset[str]:
    """Return a role and those that imply it."""
    return frozenset(r.name for r in ROLES.values() if role.name in (r.name, r.special_of))


def is_measured(role: RoleDefinition, model: Model) -> bool:
    """Return whether a model has the scores of the required criteria, with nulls that leave room.

    For a role on prompts: on at least one task to which the role applies.
    """
    if role.on != "task":
        tasks: tuple[str | None, ...] = (None,)
    elif role.tasks == "IOI-like tasks":
        tasks = model.ioi_like
    else:
        tasks = tuple(dict.fromkeys(profile.task for profile in model.profiles))
    return any(
        all(_is_scored(model, c, task) for c in role.required if not c.if_measured)
        for task in tasks
    )


def _is_scored(model: Model, criterion: Criterion, task: str | None) -> bool:
    """Return whether heads can pass a criterion.

    Not without its score or null, nor where the null is near the highest possible value.
    """
    definition = SCORES[criterion.score]
    metric = metric_key(criterion.score, task if definition.per == "task" else None)
    score = model.scores.get(metric)
    if score is None or (definition.nulls and metric not in model.nulls):
        return False
    bound = definition.high if definition.nulls and criterion.of == "score" else None
    if bound is not None and model.nulls[metric] >= SATURATED * bound:
        return False
    return bool(np.isfinite(score.values).any())


def shares_by_depth(
    roles: Mapping[str, RoleDefinition], models: Sequence[Model]
) -> dict[str, Float64[np.ndarray, " depth"]]:
    """Return by kind the share of heads that have it in each fifth of the depth.

    The mean over the models in which the kind was measured and which have layers in that part; NaN
    where none has. A model of one layer is at depth 0.
    """
    implied = {name: names_of(role) for name, role in roles.items()}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in roles}
    for model in models:
        every = np.zeros(DEPTHS)
        for layer in model.layers_with_heads:
            every[_part(model, layer)] += model.n_heads
        places: dict[str, set[HeadIndex]] = {}
        for place, held in model.roles.items():
            for role in held:
                places.setdefault(role.role, set()).add(place)
        for name, role in roles.items():
            if is_measured(role, model):
                having = np.zeros(DEPTHS)
                for layer, _ in set().union(*(places.get(one, ()) for one in implied[name])):
                    having[_part(model, layer)] += 1
                share = np.divide(having, every, out=np.full(DEPTHS, np.nan), where=every > 0)
                rows[name].append(share)
    return {name: _mean(np.array(found).reshape(-1, DEPTHS)) for name, found in rows.items()}


def _part(model: Model, layer: int) -> int:
    return min(DEPTHS - 1, int(DEPTHS * model.depth(layer)))


def _mean(table: Float64[np.ndarray, "model depth"]) -> Float64[np.ndarray, " depth"]:
    """Return the mean of the rows that have a value; NaN where none has."""
    counts = np.isfinite(table).sum(0)
    total = np.nansum(table, axis=0)
    return np.divide(total, counts, out=np.full(DEPTHS, np.nan), where=counts > 0)
