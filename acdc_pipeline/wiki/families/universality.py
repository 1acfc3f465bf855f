"""How common a kind of head is: in how many models, and in how many unrelated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from acdc_pipeline.graph.consensus import wilson_interval
from acdc_pipeline.specs.head_scores import ROLES, SCORES, RoleDefinition, metric_key
from acdc_pipeline.wiki.families.find import Family, group_related
from acdc_pipeline.wiki.models import Model, Roles

DEPTHS = 5
"""Parts of equal depth into which the layers of a model are divided."""


@dataclass(frozen=True)
class Universality:
    """The models with at least one head of a kind.

    Args:
        having, lacking: the models in which the kind was looked for.
        unmeasured: models without the scores or nulls of the kind, or with heads never profiled.
        groups: number of groups of related models in which it was looked for.
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
    early = {
        model.slug
        for family in families
        if family.kind == "checkpoints"
        for model in family.members[:-1]
    }
    counted = [model for model in models if model.slug not in early]
    names = names_of(role)
    having, lacking, unmeasured = [], [], []
    for model in counted:
        if not is_measured(role, model):
            unmeasured.append(model)
        elif has_kind(model.roles, names):
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


def has_kind(roles: Roles, names: frozenset[str]) -> bool:
    """Return whether any head has one of the roles."""
    return any(held.role in names for every in roles.values() for held in every)


def is_measured(role: RoleDefinition, model: Model) -> bool:
    """Return whether a model has the scores of the required criteria, with their nulls.

    For a role on prompts: on at least one task to which the role applies.
    """
    if role.on != "task":
        tasks: tuple[str | None, ...] = (None,)
    elif role.tasks == "IOI-like tasks":
        tasks = model.ioi_like
    else:
        tasks = tuple(dict.fromkeys(profile.task for profile in model.profiles))
    return any(
        all(_is_scored(model, criterion.score, task) for criterion in role.required)
        for task in tasks
    )


def _is_scored(model: Model, name: str, task: str | None) -> bool:
    definition = SCORES[name]
    metric = metric_key(name, task if definition.per == "task" else None)
    score = model.scores.get(metric)
    if score is None or (definition.nulls and metric not in model.nulls):
        return False
    return bool(np.isfinite(score.values).any())


def shares_by_depth(
    roles: Mapping[str, RoleDefinition], models: Sequence[Model]
) -> dict[str, Float64[np.ndarray, " depth"]]:
    """Return by kind the share of heads that have it in each fifth of the depth.

    The mean over the models in which the kind was measured and which have layers in that part; NaN
    where none has. A model of one layer is at depth 0.
    """
    found: dict[str, Float64[np.ndarray, " depth"]] = {}
    for name, role in roles.items():
        names, rows = names_of(role), []
        for model in models:
            if not is_measured(role, model):
                continue
            having, every = np.zeros(DEPTHS), np.zeros(DEPTHS)
            for place in model.places:
                part = min(DEPTHS - 1, int(DEPTHS * model.depth(place[0])))
                every[part] += 1
                having[part] += any(held.role in names for held in model.roles.get(place, ()))
            rows.append(np.divide(having, every, out=np.full(DEPTHS, np.nan), where=every > 0))
        table = np.array(rows).reshape(-1, DEPTHS)
        counts = np.isfinite(table).sum(0)
        total = np.nansum(table, axis=0)
        found[name] = np.divide(total, counts, out=np.full(DEPTHS, np.nan), where=counts > 0)
    return found
