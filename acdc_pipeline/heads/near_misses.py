"""Scores that come near a role without giving it, and what keeps them from telling roles apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.criteria import Judgement, Reason
from acdc_pipeline.heads.roles import Facts, HeadRole, judge, metric_of
from acdc_pipeline.specs.head_scores import (
    ROLES,
    TELLING_PERIOD,
    Criterion,
    RoleDefinition,
)

NEAR = 0.5
"""Share of its line from which a value above its null is near."""

BEST = 0.25
"""The same for the highest value of a model in which no head has the role."""


@dataclass(frozen=True)
class NearMiss:
    """A head without a role, and the score that comes nearest to one.

    Args:
        node: the head.
        role: name of the role.
        on: the task on whose prompts it would have it; None for random tokens and weights.
        metric: the score, with version and task.
        value: what the head has of it.
        line: what it would have to reach, nulls taken into account.
        null: what chance reaches; None where the score has no null.
        reason: what is missing.
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
        """The value as a share of the line: 1 at the line."""
        return self.value / self.line

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "head": str(self.node),
            "role": self.role,
            "on": self.on,
            "metric": self.metric,
            "value": self.value,
            "line": self.line,
            "null": self.null,
            "reason": self.reason,
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> NearMiss:
        """What `plain` gave. Raises KeyError or GraphError for anything else."""
        return cls(
            node=Node.parse(data["head"]),
            role=data["role"],
            on=data["on"],
            metric=data["metric"],
            value=data["value"],
            line=data["line"],
            null=data["null"],
            reason=data["reason"],
        )

    def describe(self) -> str:
        """`near miss: induction 0.36, line 0.40, null 0.06`."""
        score = self.metric.partition("@")[0]
        null = "" if self.null is None else f", null {self.null:.2f}"
        return f"near miss: {score} {self.value:.2f}, line {self.line:.2f}{null}"


def near_misses(facts: Facts, roles: list[HeadRole]) -> list[NearMiss]:
    """For every head without a role the scores near a line, the nearest first; heads in order.

    Near is at least half of the line and above the null, for roles with a lower line for heads that
    stand out, or above the line where a null keeps it from counting. The best head of a model in
    which nobody has a role is near from a quarter on. Roles that need several scores are left out:
    they are special cases of others.
    """
    with_role = {role.node for role in roles}
    found: list[NearMiss] = []
    for name, role in ROLES.items():
        for task in facts.tasks if role.on == "task" else [None]:
            found += [m for m in _of_role(facts, name, role, task) if m.node not in with_role]
    return sorted(found, key=lambda m: (m.node.layer, m.node.head, -m.nearness))


def _of_role(facts: Facts, name: str, role: RoleDefinition, task: str | None) -> list[NearMiss]:
    criterion, *more = role.required
    if more:
        return []
    judgement = judge(facts, criterion, task)
    # a model that does not answer has no line that is a share of its answer
    if judgement is None or not np.isfinite(judgement.line):
        return []
    metric, sign = metric_of(criterion, task), -1.0 if "minus" in criterion.of else 1.0
    return [
        NearMiss(
            node=head(int(layer), int(index)),
            role=name,
            on=task,
            metric=metric,
            value=float(sign * judgement.values[layer, index]),
            line=float(sign * judgement.line),
            null=float(sign * judgement.null) if np.isfinite(judgement.null) else None,
            reason=judgement.reason(float(judgement.values[layer, index])),
        )
        for layer, index in np.argwhere(_near(judgement, criterion))
    ]


def _near(judgement: Judgement, criterion: Criterion) -> np.ndarray:
    """Which heads come near the line and do not pass."""
    values, passed = judgement.values, judgement.passed
    with np.errstate(invalid="ignore"):
        near = values >= judgement.usual_line
        if criterion.floor is not None:
            near |= judgement.exceeds_null & (values >= NEAR * judgement.usual_line)
        if not passed.any() and np.isfinite(values).any():
            best = (values == np.nanmax(values)) & judgement.exceeds_null
            near |= best & (values >= BEST * judgement.usual_line)
    return near & ~passed


def profile_warnings(facts: Facts, period: int | None, n_ctx: int) -> list[str]:
    """What keeps the scores of a model from telling its heads' roles apart.

    Args:
        facts: of the model.
        period: how many random tokens were said twice; None where the model holds none.
        n_ctx: the model's context.
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
        for task in facts.tasks if role.on == "task" else [None]:
            judgement = judge(facts, role.required[0], task)
            if judgement is None or role.special_of is not None:
                continue
            reached = f"{metric_of(role.required[0], task)} ({judgement.null:.2f}"
            if judgement.saturated:
                saturated.append(f"{reached} of 1; no head can be {role.title})")
            elif judgement.line > judgement.usual_line:
                lines = f"past {judgement.usual_line:.2f}; the line is {judgement.line:.2f}"
                raised.append(f"{reached}, {lines})")
    if saturated:
        out.append(f"nulls reach nearly all there is in {', '.join(saturated)}")
    if raised:
        out.append(f"nulls reach past the usual lines in {', '.join(raised)}")
    return out


NOTHING = "No score crosses its line and exceeds its null."


def summary(roles: Sequence[HeadRole], near: NearMiss | None = None) -> str:
    """`Behaves as an induction head on random tokens (0.98, rank 1 of 16; attention).`

    Args:
        roles: those of one head, the ones to be named first in front.
        near: what comes nearest to one, for a head without roles.
    """
    if not roles:
        return NOTHING if near is None else f"{NOTHING} {near.describe().capitalize()}."
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
