"""What every score of a head means, and which scores make a head one of a kind."""

from __future__ import annotations

from collections.abc import Mapping

from acdc_pipeline.specs.head_scores import backup, random_tokens, task_prompts, weights
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
from acdc_pipeline.specs.head_scores.roles import ROLES as _ROLES
from acdc_pipeline.specs.head_scores.weights import TOP

SCORES: Mapping[str, ScoreDefinition] = {
    score.name: score
    for score in (
        *random_tokens.SCORES,
        *weights.SCORES,
        *task_prompts.SCORES,
        *backup.SCORES,
    )
}
"""Every score by name, in the order in which pages and tables show them."""

ROLES: Mapping[str, RoleDefinition] = {role.name: role for role in _ROLES}
"""Every kind of head by name."""


def metric_key(score: str, task: str | None = None) -> str:
    """The `metric` of `heads.parquet`: `induction@1`, or `direct_effect@1:ioi` on a task."""
    key = SCORES[score].key
    return key if task is None else f"{key}:{task}"


def parse_metric(key: str) -> tuple[str, int, str | None]:
    """Name, version and task of what `metric_key` made. Raises ValueError for anything else."""
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
