"""One sentence about a head, made from its roles: what was measured, never what a head is."""

from __future__ import annotations

from collections.abc import Sequence

from acdc_pipeline.heads.near_misses import NearMiss
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.head_scores import ROLES

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
