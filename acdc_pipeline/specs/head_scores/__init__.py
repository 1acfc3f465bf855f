"""The definitions of head scores, and of the roles that heads have by their scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from acdc_pipeline.specs.files import read_package_yaml
from acdc_pipeline.specs.head_scores.definition import EVIDENCE as EVIDENCE
from acdc_pipeline.specs.head_scores.definition import HEADROOM as HEADROOM
from acdc_pipeline.specs.head_scores.definition import NULL_MARGIN as NULL_MARGIN
from acdc_pipeline.specs.head_scores.definition import NULL_QUANTILE as NULL_QUANTILE
from acdc_pipeline.specs.head_scores.definition import NULLS as NULLS
from acdc_pipeline.specs.head_scores.definition import OUTLIER as OUTLIER
from acdc_pipeline.specs.head_scores.definition import SATURATED as SATURATED
from acdc_pipeline.specs.head_scores.definition import TELLING_PERIOD as TELLING_PERIOD
from acdc_pipeline.specs.head_scores.definition import TOP as TOP
from acdc_pipeline.specs.head_scores.definition import Criterion as Criterion
from acdc_pipeline.specs.head_scores.definition import Evidence as Evidence
from acdc_pipeline.specs.head_scores.definition import NullKind as NullKind
from acdc_pipeline.specs.head_scores.definition import RoleDefinition as RoleDefinition
from acdc_pipeline.specs.head_scores.definition import ScoreDefinition as ScoreDefinition

_FOLDER = Path(__file__).parent


def _load_scores() -> dict[str, ScoreDefinition]:
    data = read_package_yaml(_FOLDER / "scores.yaml")
    scores = [
        ScoreDefinition(**score | {"source": Template(score["source"]).substitute(data["sources"])})
        for score in data["scores"]
    ]
    return {score.name: score for score in scores}


def _load_roles() -> dict[str, RoleDefinition]:
    roles: list[dict[str, Any]] = read_package_yaml(_FOLDER / "roles.yaml")
    return {role["name"]: RoleDefinition(**role) for role in roles}


SCORES: Mapping[str, ScoreDefinition] = _load_scores()
"""Every score by name, in the order of pages and tables."""

ROLES: Mapping[str, RoleDefinition] = _load_roles()
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
