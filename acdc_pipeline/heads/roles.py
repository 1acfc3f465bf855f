"""Which kinds of head a head behaves as, from what was measured.

Nothing here computes a score or needs torch: roles follow from stored numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.nulls import Null
from acdc_pipeline.specs.head_scores import (
    EVIDENCE,
    ROLES,
    SCORES,
    Criterion,
    Evidence,
    RoleDefinition,
    metric_key,
)

TOKENS = ""
"""In the place of a task's name: random tokens."""


@dataclass(frozen=True)
class Facts:
    """What was measured of one model.

    Args:
        values: for each metric, a value for each layer and head; NaN where there is none.
        nulls: for each metric, its nulls.
        answer_logits: the whole model's answer logit on each task, and under `TOKENS` on repeated
            random tokens.
        ioi_like: the tasks whose roles make them IOI-like.
    """

    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    nulls: Mapping[str, Sequence[Null]] = field(default_factory=dict)
    answer_logits: Mapping[str, float] = field(default_factory=dict)
    ioi_like: Collection[str] = ()

    @property
    def tasks(self) -> list[str]:
        """The tasks it was measured on."""
        return [name for name in self.answer_logits if name != TOKENS]


@dataclass(frozen=True)
class HeadRole:
    """A head behaves as one of a kind.

    Args:
        node: the head.
        role: name of the role.
        on: the task on whose prompts it does; None for random tokens and weights.
        evidence: what kinds of evidence there are, weakest first.
        metric: the score that decides, with version and task.
        value: what the head has of it.
        rank: its place among all heads of the model, from 1.
        of: how many heads have that score.
    """

    node: Node
    role: str
    on: str | None
    evidence: tuple[Evidence, ...]
    metric: str
    value: float
    rank: int
    of: int

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "head": str(self.node),
            "role": self.role,
            "on": self.on,
            "evidence": list(self.evidence),
            "metric": self.metric,
            "value": self.value,
            "rank": self.rank,
            "of": self.of,
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> HeadRole:
        """What `plain` gave. Raises KeyError or GraphError for anything else."""
        return cls(
            node=Node.parse(data["head"]),
            role=data["role"],
            on=data["on"],
            evidence=tuple(data["evidence"]),
            metric=data["metric"],
            value=data["value"],
            rank=data["rank"],
            of=data["of"],
        )


def roles_of(facts: Facts) -> list[HeadRole]:
    """Every role that every head has, in the order of heads, then of `ROLES`, then of tasks."""
    found: list[HeadRole] = []
    for name, role in ROLES.items():
        for task in facts.tasks if role.on == "task" else [None]:
            found += _given(facts, name, role, task)
    special = {(r.node, ROLES[r.role].special_of, r.on) for r in found}
    kept = [r for r in found if (r.node, r.role, r.on) not in special]
    order = {name: place for place, name in enumerate(ROLES)}
    return sorted(kept, key=lambda r: (r.node.layer, r.node.head, order[r.role]))


def heads_with(facts: Facts, role: str, task: str | None = None) -> list[Node]:
    """The heads that have a role, whatever other roles they have."""
    return [given.node for given in _given(facts, role, ROLES[role], task)]


def _given(facts: Facts, name: str, role: RoleDefinition, task: str | None) -> list[HeadRole]:
    if role.tasks == "IOI-like tasks" and task not in facts.ioi_like:
        return []
    passed = [_passes(facts, criterion, task) for criterion in role.required]
    if any(grid is None for grid in passed):
        return []
    supported = [(c, _passes(facts, c, task)) for c in role.supporting]
    has = np.logical_and.reduce([grid for grid in passed if grid is not None])
    first = role.required[0]
    metric = _metric(first, task)
    values = facts.values[metric]
    places = _ranks(values if "minus" not in first.of else -values)
    out = []
    for layer, index in np.argwhere(has):
        levels = {criterion.evidence for criterion in role.required}
        levels |= {c.evidence for c, grid in supported if grid is not None and grid[layer, index]}
        out.append(
            HeadRole(
                node=head(int(layer), int(index)),
                role=name,
                on=task,
                evidence=tuple(level for level in EVIDENCE if level in levels),
                metric=metric,
                value=float(values[layer, index]),
                rank=int(places[layer, index]),
                of=int(np.isfinite(values).sum()),
            )
        )
    return out


def _passes(facts: Facts, criterion: Criterion, task: str | None) -> np.ndarray | None:
    """Which heads cross the line and exceed the nulls; None where that was not measured."""
    metric = _metric(criterion, task)
    if metric not in facts.values:
        return None
    sign = -1.0 if criterion.of in ("minus score", "minus share") else 1.0
    values = sign * facts.values[metric]
    line = criterion.least
    if criterion.of in ("share", "minus share"):
        whole = facts.answer_logits.get(_place(criterion, task), 0.0)
        # a model that does not answer has no answer to have a share in
        line = line * whole if whole > 0 else np.inf
    with np.errstate(invalid="ignore"):
        passed = values >= line
        for kind in SCORES[criterion.score].nulls:
            null = next((n for n in facts.nulls.get(metric, ()) if n.kind == kind), None)
            if null is None:
                return None
            passed &= values > (null.high if sign > 0 else -null.low)
    return passed


def _metric(criterion: Criterion, task: str | None) -> str:
    per_task = SCORES[criterion.score].per == "task"
    return metric_key(criterion.score, task if per_task else None)


def _place(criterion: Criterion, task: str | None) -> str:
    per_task = SCORES[criterion.score].per == "task"
    return task if per_task and task is not None else TOKENS


def _ranks(values: np.ndarray) -> np.ndarray:
    """1 for the highest; heads with the same value share the better place."""
    flat = values[np.isfinite(values)]
    return 1 + (flat[None, None] > values[..., None]).sum(-1)
