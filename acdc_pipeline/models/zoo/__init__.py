"""The zoo: small models that ship inside the package, one directory each."""

from __future__ import annotations

import json
from pathlib import Path

from acdc_pipeline.errors import UnknownName

WEIGHTS = Path(__file__).with_name("weights")


def list_zoo() -> tuple[str, ...]:
    """Return the names of all shipped models, sorted."""
    return tuple(sorted(path.parent.name for path in WEIGHTS.glob("*/config.json")))


def zoo_path(name: str) -> Path:
    """Return the directory of zoo model `name`.

    Raises:
        UnknownName: no model of that name ships with the package.
    """
    known = list_zoo()
    if name not in known:
        raise UnknownName.among("zoo model", name, known, fix="acdc models list")
    return WEIGHTS / name


def claimed_tasks(name: str) -> tuple[str, ...]:
    """Return the tasks that zoo model `name` was trained or built for. Raises UnknownName."""
    card = zoo_path(name) / "card.json"
    return tuple(json.loads(card.read_text(encoding="utf-8"))["tasks"])
