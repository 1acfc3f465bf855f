"""`--task` and `--model` of commands that list runs: what was perhaps meant where none fits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from acdc_pipeline.errors import nearest

if TYPE_CHECKING:
    from acdc_pipeline.specs import RunSpec


def perhaps(task: str | None, model: str | None, specs: Iterable[RunSpec]) -> str:
    """` (did you mean --task ioi?)` for a name that no run has; empty where there is none near."""
    runs = list(specs)
    known = {"--task": {run.task for run in runs}, "--model": {run.model for run in runs}}
    near = {
        option: close
        for option, name in (("--task", task), ("--model", model))
        if name is not None
        and name not in known[option]
        and (close := nearest(name, known[option]))
    }
    asked = " ".join(f"{option} {name}" for option, name in near.items())
    return f" (did you mean {asked}?)" if asked else ""
