"""The role, or the place it attends to most, that the sentence on a head is about.

Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from acdc_pipeline.heads.roles import HeadRole

HABITS: Mapping[str, str] = {
    "induction": "the token that followed the current one before",
    "duplicate_token": "the earlier occurrence of the current token",
    "previous_token": "the token before the current one",
    "current_token": "the current token itself",
    "sink": "the first token",
}
"""The scores of attention on random tokens, which are roles too, and the place each is about."""

READS = 0.1
"""The mean attention to the answer from which a head counts as reading it."""

_LEADING = (
    "name_mover",
    "s_inhibition",
    "copy_suppression",
    "induction",
    "duplicate_token",
    "anti_induction",
    "mover",
    "direct_contributor",
    "successor",
    "relation",
    "previous_token",
    "current_token",
    "backup_induction",
    "backup_previous_token",
    "backup_duplicate_token",
    "backup_mover",
    "sink",
    "copying",
    "suppressing",
)
"""Roles, the ones that say most first."""


def lead_role(roles: Sequence[HeadRole]) -> HeadRole:
    """Return the role that says most of a head; of several tasks the one with the best rank.

    Of equal ranks the one with the larger value.
    """
    return min(
        roles, key=lambda role: (lead_place(role.role), role.rank, -abs(role.value), role.on or "")
    )


def lead_place(role: str) -> int:
    """Return the place of a role in the order of how much roles say, from 0."""
    return _LEADING.index(role)


def strongest_habit(values: Mapping[str, float]) -> str | None:
    """Return the score of `HABITS` with the highest value; None if none has a value."""
    known = {name: values[name] for name in HABITS if values.get(name, float("nan")) >= 0}
    return max(known, key=lambda name: known[name]) if known else None


def habit_of(role: HeadRole) -> str | None:
    """Return the score of `HABITS` that shows a role; None if none does."""
    name = "induction" if role.role == "anti_induction" else role.role
    return name if name in HABITS else None


def token_example(roles: Sequence[HeadRole], values: Mapping[str, float]) -> str | None:
    """Return the score of `HABITS` of which a head gets examples: of a role, else the highest."""
    for role in sorted(roles, key=lambda role: lead_place(role.role)):
        name = habit_of(role)
        if name is not None and values.get(name, float("nan")) >= 0:
            return name
    return strongest_habit(values)


def task_example(roles: Sequence[HeadRole]) -> str | None:
    """Return the score on a task of which a head gets examples, given its roles on the task.

    None for roles that no place in a prompt shows.
    """
    names = {role.role: role for role in roles if role.on is not None}
    if "s_inhibition" in names:
        return "attention_to_repeat"
    if names.keys() & {"mover", "name_mover", "copy_suppression"}:
        return "attention_to_answer"
    return "direct_effect" if "direct_contributor" in names else None
