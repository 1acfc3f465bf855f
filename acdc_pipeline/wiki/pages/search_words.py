"""Words by which the search finds kinds of heads: titles, and names in publications."""

from __future__ import annotations

from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.tasks import ROLE_OF_GROUP

_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "induction": ("pattern completion",),
    "previous_token": ("prev token",),
    "duplicate_token": ("duplicate",),
    "current_token": ("self attention", "identity"),
    "sink": ("bos", "resting", "no-op", "first token"),
    "copying": ("copy",),
    "suppressing": ("suppression", "anti-copying"),
    "successor": ("increment",),
    "relation": ("fact", "knowledge"),
    "mover": ("argument mover", "letter mover"),
    "direct_contributor": ("direct effect",),
    "copy_suppression": ("anti name mover",),
    "s_inhibition": ("subject inhibition", "inhibition"),
    "backup_mover": ("backup mover",),
}
"""Names in publications and common ones, besides the title."""


def kind_words(role: str) -> list[str]:
    """Return every name of a role, in lower case with spaces, the title's first: `s inhibition`."""
    names = [ROLES[role].title, role, *_OTHER_NAMES.get(role, ())]
    names += [group for group, name in ROLE_OF_GROUP.items() if name == role]
    return list(dict.fromkeys(_plain(name) for name in names))


def _plain(name: str) -> str:
    words = name.lower().replace("_", " ").replace("-", " ").split()
    return " ".join(word for word in words if word not in ("head", "heads", "a", "an", "of"))
