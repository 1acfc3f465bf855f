"""What a store has of evaluations, for commands that show runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.output import note

if TYPE_CHECKING:
    from acdc_pipeline.errors import DamagedRun
    from acdc_pipeline.store import Figures, Store


def figures_by_run(results: Store, run_ids: Iterable[str]) -> Mapping[str, Figures]:
    """What was measured of each run that was evaluated; damaged evaluations are named on stderr."""
    from acdc_pipeline.store import figures_of

    found = results.evaluations(run_ids)
    warn_of_damage(found.damaged)
    return {run_id: figures_of(some) for run_id, some in found.by_run.items()}


def warn_of_damage(damaged: Iterable[DamagedRun]) -> None:
    """Names what was left out, on stderr."""
    for error in damaged:
        note(f"acdc: warning: {error}".replace("\n", "\n      "))
