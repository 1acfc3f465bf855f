"""The roles of a model's heads, as its profiles gave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from acdc_pipeline.heads.near_misses import NearMiss
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


def near_misses_of(profiles: Iterable[Profile], roles: Roles) -> dict[HeadIndex, NearMiss]:
    """For each head that has no role in any profile, the score that comes nearest to one."""
    found: dict[HeadIndex, NearMiss] = {}
    for profile in profiles:
        for miss in profile.near_misses:
            place = miss.node.layer or 0, miss.node.head or 0
            if place in roles:
                continue
            if place not in found or miss.nearness > found[place].nearness:
                found[place] = miss
    return found


def primary_metric(role: str, task: str | None) -> str:
    """The score by which heads of a kind are ranked."""
    score = ROLES[role].required[0].score
    return metric_key(score, task if SCORES[score].per == "task" else None)
