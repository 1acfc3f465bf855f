"""Names from outside as names of files: short, lower case, safe on every system, each its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_LONGEST = 60
_OTHER = re.compile(r"[^a-z0-9.]+")

# Windows gives these to devices, whatever follows the first dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def slugs(names: Iterable[str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """A different slug for each of `names`, decided by the names alone.

    A name that says nothing more than its slug keeps it plain; where more than capitals and
    separators was lost, or two names meet in one slug, eight digits of the name's sha256 follow.

    Args:
        names: any text.
        reserved: what no slug may be.
    """
    known = sorted(set(names))
    plain = {name: _slug(name) for name in known}
    taken: dict[str, int] = dict.fromkeys(reserved, 1)
    for slug in plain.values():
        taken[slug] = taken.get(slug, 0) + 1
    return {
        name: slug if taken[slug] == 1 and _is_faithful(name, slug) else f"{slug}-{_digest(name)}"
        for name, slug in plain.items()
    }


def _slug(name: str) -> str:
    text = _OTHER.sub("-", name.lower()[: 4 * _LONGEST])[:_LONGEST].strip("-.")
    while ".." in text:
        text = text.replace("..", ".")
    return f"x-{text}" if not text or _DEVICES.match(text) else text


def _is_faithful(name: str, slug: str) -> bool:
    """Whether only the separators of model references were replaced."""
    return re.sub(r"[:/_@ -]", "-", name.lower()) == slug


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
