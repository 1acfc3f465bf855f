"""The definitions of head scores, and of the roles that heads have by their scores."""

from __future__ import annotations

from collections.abc import Mapping

from acdc_pipeline.specs.head_scores.definition import (
    EVIDENCE,
    HEADROOM,
    NULL_MARGIN,
    NULL_QUANTILE,
    NULLS,
    OUTLIER,
    SATURATED,
    TELLING_PERIOD,
    Criterion,
    Evidence,
    Family,
    NullKind,
    RoleDefinition,
    ScoreDefinition,
)
from acdc_pipeline.specs.head_scores.model_scores import RANDOM_TOKEN_SCORES, TOP, WEIGHT_SCORES
from acdc_pipeline.specs.head_scores.roles import ROLES as _ROLES
from acdc_pipeline.specs.head_scores.task_scores import BACKUP_SCORES, TASK_SCORES

SCORES: Mapping[str, ScoreDefinition] = {
    score.name: score
    for score in (*RANDOM_TOKEN_SCORES, *WEIGHT_SCORES, *TASK_SCORES, *BACKUP_SCORES)
}
"""Every score by name, in the order of pages and tables."""

ROLES: Mapping[str, RoleDefinition] = {role.name: role for role in _ROLES}
"""Every role by name."""


def metric_key(score: str, task: str | None = None) -> str:
    """The `metric` of `heads.parquet`: `induction@1`, or `direct_effect@1:ioi` on a task."""
    key = SCORES[score].key
    return key if task is None else f"{key}:{task}"


def parse_metric(key: str) -> tuple[str, int, str | None]:
    """Name, version and task in a `metric_key`. Raises ValueError for any other string."""
    name, at, rest = key.partition("@")
    version, colon, task = rest.partition(":")
    if not (name and at and version.isdecimal()) or (colon and not task):
        raise ValueError(f"{key!r} is not a metric: write name@version or name@version:task")
    return name, int(version), task or None


__all__ = [
    "EVIDENCE",
    "HEADROOM",
    "NULLS",
    "NULL_MARGIN",
    "NULL_QUANTILE",
    "OUTLIER",
    "ROLES",
    "SATURATED",
    "SCORES",
    "TELLING_PERIOD",
    "TOP",
    "Criterion",
    "Evidence",
    "Family",
    "NullKind",
    "RoleDefinition",
    "ScoreDefinition",
    "metric_key",
    "parse_metric",
]
