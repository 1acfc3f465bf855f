"""Names of what is measured on ordinary text. `docs/head-scores.md` has the definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

KEY_KINDS: tuple[str, ...] = ("first", "current", "previous", "induction", "duplicate", "other")
"""What a key is to a query; a key of several kinds is of the first of them."""

OF_ROLE: Mapping[str, str] = {
    "sink": "first",
    "current_token": "current",
    "previous_token": "previous",
    "induction": "induction",
    "anti_induction": "induction",
    "duplicate_token": "duplicate",
}
"""The kind of key that a role is about. Other roles say nothing of where a head looks on any
text, and explain none of its attention there."""

DECILES = 10


def kinds_of_roles(roles: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of keys that `roles` are about, each once, in the order of `KEY_KINDS`."""
    found = {OF_ROLE[role] for role in roles if role in OF_ROLE}
    return tuple(kind for kind in KEY_KINDS if kind in found)
