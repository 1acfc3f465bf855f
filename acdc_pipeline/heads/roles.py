"""The roles that heads behave as, from stored scores and nulls.

Nothing here computes a score or needs torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.criteria import CriterionCheck, Null
from acdc_pipeline.heads.values import HeadValues
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
"""The key of random tokens among tasks."""


@dataclass(frozen=True)
class Measurements:
    """The scores and nulls of one model's heads.

    Args:
        values: for each metric, a value for each layer and head; NaN where there is none.
        answer_logits: the whole model's answer logit on each task, and under `TOKENS` on repeated
            random tokens; 0 or less if it does not answer.
    """

    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    nulls: Mapping[str, Sequence[Null]] = field(default_factory=dict)
    answer_logits: Mapping[str, float] = field(default_factory=dict)
    ioi_like: Collection[str] = ()

    @classmethod
    def of(
        cls,
        values: Sequence[HeadValues],
        nulls: Sequence[Null],
        answer_logits: Mapping[str, float],
        ioi_like: Sequence[str] = (),
    ) -> Measurements:
        """The measurements with these values and nulls, by metric."""
        by_metric: dict[str, list[Null]] = {}
        for null in nulls:
            by_metric.setdefault(null.metric, []).append(null)
        return cls({v.key: v.mean for v in values}, by_metric, answer_logits, tuple(ioi_like))

    @property
    def tasks(self) -> list[str]:
        """The tasks with scores."""
        return [name for name in self.answer_logits if name != TOKENS]


@dataclass(frozen=True)
class HeadRole:
    """A role that a head behaves as.

    Args:
        on: the task on whose prompts it does; None for random tokens and weights.
        evidence: the kinds of evidence, weakest first.
        metric: the deciding score, with version and task.
        rank: the rank of that value among all heads of the model, from 1.
        of: the number of heads with that score.
        below_line: the line, if the value is below it and the head has the role as an outlier among
            the model's heads; None if it reaches the line.
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
        values = asdict(self) | {"node": str(self.node), "evidence": list(self.evidence)}
        return {"head": values.pop("node"), **values}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> HeadRole:
        """Read what `plain` returned. Raises KeyError or GraphError for anything else."""
        same = {name: data[name] for name in ("on", "metric", "value", "rank", "of")}
        return cls(
            node=Node.parse(data["head"]),
            role=current_role(data["role"], data["metric"]),
            evidence=tuple(data["evidence"]),
            # Older profiles lack it: they list only heads that reach their line.
            below_line=data.get("below_line"),
            **same,
        )


def current_role(role: str, metric: str) -> str:
    """Return the name of a stored role: in older profiles direct contributors are movers."""
    is_direct = role == "mover" and metric.startswith("direct_effect@")
    return "direct_contributor" if is_direct else role


def more_general(role: str) -> list[str]:
    """Return the roles that a role implies on the same task, the nearest first."""
    general = ROLES[role].special_of
    return [] if general is None else [general, *more_general(general)]


def assign_roles(measured: Measurements) -> list[HeadRole]:
    """Every role of every head, in the order of heads, then of `ROLES`, then of tasks."""
    found: list[HeadRole] = []
    for name, role in ROLES.items():
        for task in measured.tasks if role.on == "task" else [None]:
            found += _heads_in_role(measured, name, role, task)
    implied = {(r.node, general, r.on) for r in found for general in more_general(r.role)}
    kept = [r for r in found if (r.node, r.role, r.on) not in implied]
    order = {name: place for place, name in enumerate(ROLES)}
    return sorted(kept, key=lambda r: (r.node.layer, r.node.head, order[r.role]))


def heads_with_role(measured: Measurements, role: str, task: str | None = None) -> list[Node]:
    """The heads that have a role, whatever other roles they have."""
    return [found.node for found in _heads_in_role(measured, role, ROLES[role], task)]


def _heads_in_role(
    measured: Measurements, name: str, role: RoleDefinition, task: str | None
) -> list[HeadRole]:
    if role.tasks == "IOI-like tasks" and task not in measured.ioi_like:
        return []
    criteria = measured_criteria(measured, role, task)
    required = [check_criterion(measured, criterion, task) for criterion in criteria]
    passed = [check.passed for check in required if check is not None]
    if len(passed) < len(required):
        return []
    supporting = [(c, check_criterion(measured, c, task)) for c in role.supporting]
    first, deciding = role.required[0], required[0]
    assert deciding is not None
    metric = criterion_metric(first, task)
    values = measured.values[metric]
    # Heads with equal values share the better rank.
    finite = deciding.values[np.isfinite(deciding.values)]
    ranks = 1 + (finite > deciding.values[..., None]).sum(-1)
    out = []
    for layer, index in np.argwhere(np.logical_and.reduce(passed)):
        levels = {criterion.evidence for criterion in criteria}
        levels |= {c.evidence for c, check in supporting if check and check.passed[layer, index]}
        below = deciding.values[layer, index] < deciding.line
        out.append(
            HeadRole(
                node=head(int(layer), int(index)),
                role=name,
                on=task,
                evidence=tuple(level for level in EVIDENCE if level in levels),
                metric=metric,
                value=float(values[layer, index]),
                rank=int(ranks[layer, index]),
                of=len(finite),
                below_line=criterion_sign(first) * deciding.line if below else None,
            )
        )
    return out


def measured_criteria(
    measured: Measurements, role: RoleDefinition, task: str | None
) -> list[Criterion]:
    """Return the required criteria, without those that are `if_measured` and were not measured."""
    return [
        criterion
        for criterion in role.required
        if not criterion.if_measured or criterion_metric(criterion, task) in measured.values
    ]


def check_criterion(
    measured: Measurements, criterion: Criterion, task: str | None
) -> CriterionCheck | None:
    """Check a criterion for every head of a model; None if its score or a null is missing."""
    metric = criterion_metric(criterion, task)
    if metric not in measured.values:
        return None
    definition, sign = SCORES[criterion.score], criterion_sign(criterion)
    unit = 1.0
    if criterion.of in ("share", "minus share"):
        place = task if definition.per == "task" and task is not None else TOKENS
        whole = measured.answer_logits.get(place, 0.0)
        # If the model does not answer, no head has a share in its answer.
        unit = whole if whole > 0 else np.inf
    kinds = {null.kind: null for null in reversed(measured.nulls.get(metric, ()))}
    if any(kind not in kinds for kind in definition.nulls):
        return None
    nulls = [kinds[kind] for kind in definition.nulls]
    bound = definition.high if sign > 0 else definition.low
    return CriterionCheck.of(
        sign * measured.values[metric],
        line=unit * criterion.least,
        floor=None if criterion.floor is None else unit * criterion.floor,
        nulls=[(n.high if sign > 0 else -n.low, sign * n.mean) for n in nulls],
        bound=None if bound is None else sign * bound,
    )


def criterion_sign(criterion: Criterion) -> float:
    """-1 for a criterion that negative values meet, otherwise 1."""
    return -1.0 if criterion.of in ("minus score", "minus share") else 1.0


def criterion_metric(criterion: Criterion, task: str | None) -> str:
    """The metric of a criterion's score, on `task` if it is measured on tasks."""
    per_task = SCORES[criterion.score].per == "task"
    return metric_key(criterion.score, task if per_task else None)
