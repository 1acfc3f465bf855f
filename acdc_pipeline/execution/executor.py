"""The executors' common face: runs in, outcomes out, and a listener on the way.

Two implementations: `local` works in this process, one run after the other, and is the oracle;
`ray` on actors. The same runs leave the same bytes in the store, whichever did them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from acdc_pipeline.errors import AcdcError
from acdc_pipeline.execution.checkpoint import Checkpoint
from acdc_pipeline.execution.planned import PlannedRun
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord, Store

State = Literal["committed", "present", "failed"]
"""`present`: the store had it when its turn came; nothing was computed."""


@dataclass(frozen=True)
class Outcome:
    """How one run ended.

    Args:
        planned: the run.
        state: what became of it.
        seconds: how long it took, all attempts together.
        attempts: how often it was tried.
        worker: who did it last.
        edges_kept: size of its circuit; None where there is none, or the run failed.
        error: why it failed.
    """

    planned: PlannedRun
    state: State
    seconds: float
    attempts: int
    worker: str
    edges_kept: int | None = None
    error: AcdcError | None = None


@runtime_checkable
class SweepListener(Protocol):
    """Told what a sweep does: a live display, plain lines, or metrics."""

    def waiting(self, reason: str) -> None:
        """Nothing starts before something that takes seconds or more: a cluster, a worker."""
        ...

    def started(self, worker: str, planned: PlannedRun, attempt: int) -> None:
        """`worker` took up a run; `attempt` counts from 1."""
        ...

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        """Edges tested so far, kept so far, and possibly left to test."""
        ...

    def lost(self, worker: str, planned: PlannedRun | None, reason: str) -> None:
        """A worker died; the run it had, if any, goes back to the front of the queue."""
        ...

    def ended(self, outcome: Outcome) -> None:
        """A run is committed, was there already, or failed for good."""
        ...


@runtime_checkable
class RunsOne(Protocol):
    """What a worker process holds: `Worker`, or less where only the overhead is of interest."""

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        """The result of a run, gone on with from its checkpoint where there is one.

        Raises AcdcError where it cannot be had.
        """
        ...


@runtime_checkable
class Executor(Protocol):
    """Executes runs until each is committed or has failed for good."""

    def execute(
        self, runs: Sequence[PlannedRun], store: Store, listener: SweepListener
    ) -> Iterable[Outcome]:
        """Works through `runs` and yields each outcome as it comes; in no particular order.

        A run that fails does not stop the others. Closing the iterator (or Ctrl-C) ends the work
        between two steps; a run that was not finished is not in the store.

        Raises:
            ExecutionFailed: nothing can be executed at all, such as where no cluster answers.
            InvalidInput: a worker profile asks for what the cluster does not have.
        """
        ...
