"""The interfaces of what executes runs, one at a time."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from acdc_pipeline.execution.checkpoint import Checkpoint
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord


@runtime_checkable
class RunWorker(Protocol):
    """Executes one run at a time: `Worker`, or a stand-in that computes nothing."""

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        """Return the result of a run, resumed from its checkpoint. Raises AcdcError if it fails."""
        ...


@runtime_checkable
class ReducesMemory(Protocol):
    """A worker whose byte budget can be halved."""

    def reduce_memory(self, halvings: int) -> int:
        """Use the full budget halved so many times, release what is prepared; returns the budget.

        The budget stays for later runs; 0 halvings restore the full one.
        """
        ...

    @property
    def halvings(self) -> int:
        """How many times the budget is halved now."""
        ...
