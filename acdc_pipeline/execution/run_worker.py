"""The interfaces of what executes runs, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
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


@runtime_checkable
class LosesWorkers(Protocol):
    """A worker whose runs are computed by others, which may die and be replaced."""

    @property
    def losses(self) -> Sequence[str]:
        """What was reported of workers that died during the last run."""
        ...
