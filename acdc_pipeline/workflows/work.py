"""What a store says of a plan: which runs are there, which failed before, which are to be done."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Literal

from acdc_pipeline.errors import DamagedRun, OutOfMemoryBudget
from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.store import RunFailure, Store
from acdc_pipeline.workflows.sweep import SweepPlan

Standing = Literal["cached", "to run", "failed before"]

# What a byte budget was too small for says nothing about the next, and fails at once if it does.
_OF_THE_BUDGET = OutOfMemoryBudget.__name__


@dataclass(frozen=True)
class SweepWork:
    """A plan held against a store.

    Args:
        plan: the runs.
        standings: by run id, for every run of the plan.
        failures: why runs failed before, by run id; only runs that are not in the store by now.
        damaged: causes that cannot be read; their runs count as not tried.
    """

    plan: SweepPlan
    standings: Mapping[str, Standing]
    failures: Mapping[str, RunFailure]
    damaged: tuple[DamagedRun, ...]

    def standing(self, planned: PlannedRun) -> Standing:
        """Whether the store has a run, has why it failed, or has nothing of it."""
        return self.standings[planned.run_id]

    def that_are(self, *standings: Standing) -> tuple[PlannedRun, ...]:
        """The runs that stand so, in the sweep's order."""
        return tuple(run for run in self.plan.runs if self.standing(run) in standings)


def plan_sweep_work(plan: SweepPlan, store: Store) -> SweepWork:
    """Holds `plan` against `store`: verifies the runs that are there and changes nothing.

    A run that failed and was committed later is cached. A damaged run counts as absent, and one
    that had too small a byte budget as not tried.

    Raises:
        StoreError: the store cannot be read.
    """
    run_ids = [run.run_id for run in plan.runs]
    whole = store.intact(run_ids)
    failures = {f.run_id: f for f in store.failures() if f.kind != _OF_THE_BUDGET}
    return SweepWork(
        plan=plan,
        standings={run_id: _standing(run_id, whole, failures) for run_id in run_ids},
        failures={i: failures[i] for i in run_ids if i in failures and i not in whole},
        damaged=tuple(store.damaged_failures()),
    )


def _standing(run_id: str, whole: Container[str], failed: Container[str]) -> Standing:
    if run_id in whole:
        return "cached"
    return "failed before" if run_id in failed else "to run"
