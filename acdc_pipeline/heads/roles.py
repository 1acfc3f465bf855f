"""Which kinds of head a head behaves as, from what was measured.

Nothing here computes a score or needs torch: roles follow from stored numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.criteria import Judgement, Null
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
            random tokens; 0 or less where it does not answer.
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
        below_line: the line that the value misses, where the head has the role because it stands
            out from the model's other heads; None where it crosses the line.
    """

    node: Node
    role: str
    on: str | None
    evidence: tuple[Evidence, ...]
    metric: str
    value: float
    rank: int
    of: int
    below_line: float | None = None

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
            "below_line": self.below_line,
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
            # profiles of before it was there know only heads that cross their line
            below_line=data.get("below_line"),
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
    judged = [judge(facts, criterion, task) for criterion in role.required]
    if any(judgement is None for judgement in judged):
        return []
    passed = [judgement.passed for judgement in judged if judgement is not None]
    supported = [(c, judge(facts, c, task)) for c in role.supporting]
    first, deciding = role.required[0], judged[0]
    assert deciding is not None, "all were measured"
    metric = metric_of(first, task)
    values = facts.values[metric]
    places = ranks(deciding.values)
    out = []
    for layer, index in np.argwhere(np.logical_and.reduce(passed)):
        levels = {criterion.evidence for criterion in role.required}
        levels |= {c.evidence for c, other in supported if other and other.passed[layer, index]}
        below = deciding.values[layer, index] < deciding.line
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
                below_line=_sign(first) * deciding.line if below else None,
            )
        )
    return out


def judge(facts: Facts, criterion: Criterion, task: str | None) -> Judgement | None:
    """One criterion for every head of a model; None where it was not measured, nulls included."""
    metric = metric_of(criterion, task)
    if metric not in facts.values:
        return None
    definition, sign = SCORES[criterion.score], _sign(criterion)
    unit = 1.0
    if criterion.of in ("share", "minus share"):
        whole = facts.answer_logits.get(_place(criterion, task), 0.0)
        # a model that does not answer has no answer to have a share in
        unit = whole if whole > 0 else np.inf
    kinds = {null.kind: null for null in reversed(facts.nulls.get(metric, ()))}
    if any(kind not in kinds for kind in definition.nulls):
        return None
    measured = [kinds[kind] for kind in definition.nulls]
    bound = definition.high if sign > 0 else definition.low
    return Judgement.of(
        sign * facts.values[metric],
        line=unit * criterion.least,
        floor=None if criterion.floor is None else unit * criterion.floor,
        nulls=[(n.high if sign > 0 else -n.low, sign * n.mean) for n in measured],
        bound=None if bound is None else sign * bound,
    )


def _sign(criterion: Criterion) -> float:
    return -1.0 if criterion.of in ("minus score", "minus share") else 1.0


def metric_of(criterion: Criterion, task: str | None) -> str:
    """The metric of a criterion's score; `task` counts if it is measured on tasks."""
    per_task = SCORES[criterion.score].per == "task"
    return metric_key(criterion.score, task if per_task else None)


def _place(criterion: Criterion, task: str | None) -> str:
    per_task = SCORES[criterion.score].per == "task"
    return task if per_task and task is not None else TOKENS


def ranks(values: np.ndarray) -> np.ndarray:
    """1 for the highest; heads with the same value share the better place."""
    flat = values[np.isfinite(values)]
    return 1 + (flat[None, None] > values[..., None]).sum(-1)
