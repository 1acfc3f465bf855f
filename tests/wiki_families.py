"""Made-up families for the wiki: checkpoints whose heads get a role at a known step, and seeds."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from acdc_pipeline.store import RunRecord
from tests import wiki_store
from tests.wiki_store import Shape

TASK = "ioi"
STEPS = (0, 100, 1000, 20000)
APPEARS = 1000
"""The step from which `HEAD` is an induction head."""

HEAD: tuple[int, int] = (1, 2)
LAYERS, HEADS = 3, 4


def checkpoints(**changes: Any) -> list[RunRecord]:
    """A profile of every checkpoint; weights turn into those of the last with every step."""
    last = np.random.default_rng(5).normal(size=(LAYERS, HEADS, 128))
    noise = np.random.default_rng(6).normal(size=last.shape)
    records = []
    for number, step in enumerate(STEPS):
        share = number / (len(STEPS) - 1)
        planted = {HEAD: 0.9} if step >= APPEARS else {}
        found = profile(f"dir:run-step{step}", {"induction@1": planted})
        mixed = share * last + (1 - share) * noise
        records.append(with_facts(found, sketches=sketches(mixed), **changes))
    return records


def profile(ref: str, planted: Mapping[str, Mapping[tuple[int, int], float]]) -> RunRecord:
    """A profile of a model whose heads do nothing but what is planted, by metric."""
    shape = Shape(ref, LAYERS, HEADS, 64)
    draw = np.random.default_rng(0)
    grids = wiki_store.score_grids(shape, (TASK,), draw)
    for metric, grid in grids.items():
        grid[:] = 0.02
        for place, value in planted.get(metric, {}).items():
            grid[place] = value
    return wiki_store.profile_record(shape, TASK, grids, draw)


def with_facts(record: RunRecord, **facts: Any) -> RunRecord:
    """A profile with more in its document."""
    assert record.profile is not None
    return dataclasses.replace(record, profile={**record.profile, **facts})


def sketches(vectors: np.ndarray) -> dict[str, Any]:
    """The vectors as sketches of both circuits, [layer head size]."""
    encoded = {}
    for layer, head in np.ndindex(vectors.shape[:2]):
        vector = vectors[layer, head]
        levels = np.rint(127 * vector / np.abs(vector).max()).astype(np.int8)
        encoded[f"a{layer}.h{head}"] = base64.b64encode(levels.tobytes()).decode()
    return {"size": vectors.shape[2], "ov": encoded, "qk": encoded}


def declared(name: str, kind: str, members: Sequence[str], steps: str = "") -> str:
    """A `families.yaml` with one family."""
    listed = ", ".join(f"'{member}'" for member in members)
    return f"families:\n  - name: {name}\n    kind: {kind}\n    members: [{listed}]\n{steps}"
