"""Heads whose scores come near a role, warnings about such scores, and a sentence on each head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.criteria import CriterionCheck, Reason
from acdc_pipeline.heads.roles import (
    HeadRole,
    Measurements,
    check_criterion,
    criterion_metric,
    criterion_sign,
    current_role,
    measured_criteria,
)
from acdc_pipeline.specs.head_scores import ROLES, TELLING_PERIOD, Criterion, RoleDefinition

NEAR = 0.5
"""The share of its line above which a value that exceeds its null is near."""

BEST = 0.25
"""The same for the highest value of a model in which no head has the role."""

NO_ROLE = "No score crosses its line and exceeds its null."


@dataclass(frozen=True)
class NearMiss:
    """A head without a role, and the score that comes nearest to one.

    Args:
        on: the task on whose prompts it would have it; None for random tokens and weights.
        metric: the score, with version and task.
        line: the value it would have to reach, given the nulls.
        null: the limit of the nulls; None if the score has none.
    """

    node: Node
    role: str
    on: str | None
    metric: str
    value: float
    line: float
    null: float | None
    reason: Reason

    @property
    def nearness(self) -> float:
        """The value as a share of the line."""
        return self.value / self.line

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        values = vars(self) | {"node": str(self.node)}
        return {"head": values.pop("node"), **values}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> NearMiss:
        """Read what `plain` returned. Raises KeyError or GraphError for anything else."""
        names = ("on", "metric", "value", "line", "null", "reason")
        role = current_role(data["role"], data["metric"])
        return cls(Node.parse(data["head"]), role, **{name: data[name] for name in names})

    def describe(self) -> str:
        """`near miss: induction 0.36, line 0.40, null 0.06`."""
        score = self.metric.partition("@")[0]
        null = "" if self.null is None else f", null {self.null:.2f}"
        return f"near miss: {score} {self.value:.2f}, line {self.line:.2f}{null}"


def near_misses(measured: Measurements, roles: list[HeadRole]) -> list[NearMiss]:
    """The scores near a line of heads without a role: in the order of heads, nearest first.

    A value is near if it exceeds the null and half of the line, for roles that outliers can have
    below the line, or if it exceeds the line and only a null keeps it from passing. The best head
    of a model in which no head has the role is near from a quarter of the line. A head
    that passes that criterion and not one that is `if_measured` is near by the value of the latter.
    Roles with more required criteria are left out: they are special cases of others.
    """
    with_role = {role.node for role in roles}
    found: list[NearMiss] = []
    for name, role in ROLES.items():
        for task in measured.tasks if role.on == "task" else [None]:
            misses = _of_role(measured, name, role, task)
            found += [miss for miss in misses if miss.node not in with_role]
    return sorted(found, key=lambda m: (m.node.layer, m.node.head, -m.nearness))


def _of_role(
    measured: Measurements, name: str, role: RoleDefinition, task: str | None
) -> list[NearMiss]:
    criterion, *more = measured_criteria(measured, role, task)
    if not all(other.if_measured for other in more):
        return []
    check = check_criterion(measured, criterion, task)
    # The line is infinite if it is a share of an answer that the model does not give.
    if check is None or not np.isfinite(check.line):
        return []
    found = _misses(name, criterion, task, check, _near(check, criterion))
    for other in more:
        own = check_criterion(measured, other, task)
        if own is not None:
            found += _misses(name, other, task, own, check.passed & ~own.passed)
    return found


def _misses(
    role: str, criterion: Criterion, task: str | None, check: CriterionCheck, near: np.ndarray
) -> list[NearMiss]:
    sign = criterion_sign(criterion)
    return [
        NearMiss(
            node=head(int(layer), int(index)),
            role=role,
            on=task,
            metric=criterion_metric(criterion, task),
            value=float(sign * check.values[layer, index]),
            line=float(sign * check.line),
            null=float(sign * check.null) if np.isfinite(check.null) else None,
            reason=check.reason(float(check.values[layer, index])),
        )
        for layer, index in np.argwhere(near)
    ]


def _near(check: CriterionCheck, criterion: Criterion) -> np.ndarray:
    """Which heads come near the line and do not pass."""
    values, passed = check.values, check.passed
    with np.errstate(invalid="ignore"):
        near = values >= check.usual_line
        if criterion.floor is not None:
            near |= check.exceeds_null & (values >= NEAR * check.usual_line)
        if not passed.any() and np.isfinite(values).any():
            best = (values == np.nanmax(values)) & check.exceeds_null
            near |= best & (values >= BEST * check.usual_line)
    return near & ~passed


def profile_warnings(measured: Measurements, period: int | None, n_ctx: int) -> list[str]:
    """Reasons why the scores of a model cannot tell its heads' roles apart.

    They are stored with the profile, so their wording stays.

    Args:
        period: the period of the repeated random tokens; None if the model can hold none.
    """
    out = []
    if period is None:
        out.append(
            f"the context of {n_ctx} positions, or the vocabulary, holds no random tokens said "
            "twice: no head has a score on them, and no role by one"
        )
    elif period < TELLING_PERIOD:
        out.append(
            f"random tokens repeat after only {period} (a context of {n_ctx} positions): attention "
            "has too few positions to choose between for its scores to tell roles apart"
        )
    saturated: list[str] = []
    raised: list[str] = []
    for role in ROLES.values():
        for task in measured.tasks if role.on == "task" else [None]:
            check = check_criterion(measured, role.required[0], task)
            if check is None or role.special_of is not None:
                continue
            reached = f"{criterion_metric(role.required[0], task)} ({check.null:.2f}"
            if check.saturated:
                saturated.append(f"{reached} of 1; no head can be {role.title})")
            elif check.line > check.usual_line:
                lines = f"past {check.usual_line:.2f}; the line is {check.line:.2f}"
                raised.append(f"{reached}, {lines})")
    if saturated:
        out.append(f"nulls reach nearly all there is in {', '.join(saturated)}")
    if raised:
        out.append(f"nulls reach past the usual lines in {', '.join(raised)}")
    return out


def describe_head(roles: Sequence[HeadRole], near: NearMiss | None = None) -> str:
    """`Behaves as an induction head on random tokens (0.98, rank 1 of 16; attention).`

    Args:
        roles: the roles of a head, in the order in which to name them.
        near: its nearest miss, for a head without roles.
    """
    if not roles:
        return NO_ROLE if near is None else f"{NO_ROLE} {near.describe().capitalize()}."
    return f"Behaves as {'; as '.join(_clause(role) for role in roles)}."


def _clause(role: HeadRole) -> str:
    definition = ROLES[role.role]
    where = {
        "tokens": "on random tokens",
        "weights": "by its weights",
        "task": f"on {role.on}",
    }[definition.on]
    facts = f"{role.value:.2f}, rank {role.rank} of {role.of}; {', '.join(role.evidence)}"
    if role.below_line is not None:
        facts += f"; under {role.below_line:.2f}, but stands out"
    return f"{definition.title} {where} ({facts})"
