"""File names from arbitrary names: short, lower case, safe on every system, and unique."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_MAX_LENGTH = 60
_OTHER = re.compile(r"[^a-z0-9.]+")

# device names of Windows, whatever follows the first dot
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def assign_slugs(names: Iterable[str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """Return a unique slug for each name; depends on the set of names only.

    Eight digits of the sha256 of the name are appended if the slug loses more than capitals and
    separators, or if two names have the same slug.

    Args:
        names: any text.
        reserved: slugs that may not be used.
    """
    plain = {name: _slug(name) for name in sorted(set(names))}
    taken: dict[str, int] = dict.fromkeys(reserved, 1)
    for slug in plain.values():
        taken[slug] = taken.get(slug, 0) + 1
    return {
        # only the separators of model references may be replaced without a digest
        name: slug
        if taken[slug] == 1 and re.sub(r"[:/_@ -]", "-", name.lower()) == slug
        else f"{slug}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
        for name, slug in plain.items()
    }


def _slug(name: str) -> str:
    text = _OTHER.sub("-", name.lower()[: 4 * _MAX_LENGTH])[:_MAX_LENGTH].strip("-.")
    while ".." in text:
        text = text.replace("..", ".")
    return f"x-{text}" if not text or _DEVICES.match(text) else text
