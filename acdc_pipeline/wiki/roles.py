"""The roles of a model's heads, as its profiles gave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.head_scores import ROLES, SCORES, metric_key
from acdc_pipeline.wiki.profile import Profile

HeadIndex = tuple[int, int]
"""Layer and head."""

Roles = Mapping[HeadIndex, tuple[HeadRole, ...]]


def roles_of(profiles: Iterable[Profile]) -> dict[HeadIndex, tuple[HeadRole, ...]]:
    """The roles in a model's profiles by head, each once."""
    found: dict[HeadIndex, dict[tuple[str, str | None], HeadRole]] = {}
    for profile in profiles:
        for role in profile.roles:
            place = role.node.layer or 0, role.node.head or 0
            found.setdefault(place, {}).setdefault((role.role, role.on), role)
    order = list(ROLES)
    return {
        place: tuple(sorted(roles.values(), key=lambda r: (order.index(r.role), r.on or "")))
        for place, roles in sorted(found.items())
    }


def primary_metric(role: str, task: str | None) -> str:
    """The score by which heads of a kind are ranked."""
    score = ROLES[role].required[0].score
    return metric_key(score, task if SCORES[score].per == "task" else None)
