"""What worker processes of tests hold: quick, slow, failing and dying, in real processes.

They travel by name, so they are functions and classes of a module. Without torch they start at
once.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from acdc_pipeline.errors import OutOfMemoryBudget, PromptError
from acdc_pipeline.execution.checkpoint import Checkpoint
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.execution.ray.actor import Allotment, make_worker
from acdc_pipeline.execution.run_worker import RunWorker
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord
from tests import records

EDGES = 1000
"""Of the search that `Endless` pretends to make."""


def record_of(run: RunSpec) -> RunRecord:
    """The made-up result of a run: the same wherever it is made."""
    return replace(records.record(), spec=run)


@dataclass
class Quick:
    """Finishes at once, and leaves a note of each execution.

    Args:
        notes: a folder; every execution leaves `<run id>.<process>.<random>` there.
    """

    notes: Path

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        (self.notes / f"{run.run_id()}.{os.getpid()}.{secrets.token_hex(4)}").touch()
        return record_of(run)


def executions(notes: Path, processes: Collection[int] | None = None) -> list[str]:
    """The runs executed by workers that leave notes there, once for each time, sorted.

    Args:
        notes: where.
        processes: only by these; None for all.
    """
    told = [path.name.split(".") for path in notes.iterdir() if path.suffix]
    return sorted(
        run_id for run_id, process, _ in told if processes is None or int(process) in processes
    )


def quick(notes: Path, allotment: Allotment) -> Quick:
    """A worker that finishes at once."""
    return Quick(notes)


@dataclass
class Hungry(Quick):
    """Has no memory for the run `which` with less than `needs` bytes of budget."""

    which: str
    needs: int
    budget: int

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        if run.run_id() == self.which and self.budget < self.needs:
            raise OutOfMemoryBudget("it does not fit")
        return super().execute(run, task, progress, checkpoint)


def hungry(notes: Path, which: str, needs: int, allotment: Allotment) -> Hungry:
    """A worker that has the budget of the profile."""
    return Hungry(notes, which, needs, allotment.memory or 0)


def together(notes: Path, count: int, allotment: Allotment) -> Quick:
    """A worker that finishes at once, but begins only when `count` of them are ready."""
    _wait_for_others(notes, count)
    return Quick(notes)


def real_together(notes: Path, count: int, allotment: Allotment) -> RunWorker:
    """The worker of real runs, but it begins only when `count` of them are ready.

    Its searches wait after each decision until the file `go` is among the notes.
    """
    worker = make_worker(allotment)
    _wait_for_others(notes, count)
    return _Held(worker, notes)


@dataclass
class _Held:
    """A worker whose searches wait for the file `go` after each decision."""

    worker: RunWorker
    notes: Path

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        assert progress is not None
        held = _HeldProgress(progress, self.notes / "go")
        return self.worker.execute(run, task, held, checkpoint)


@dataclass
class _HeldProgress:
    inner: Progress
    go: Path

    def start(self, total_edges: int, label: str) -> None:
        self.inner.start(total_edges, label)

    def advance(self, tested: int, kept: int, left: int) -> None:
        self.inner.advance(tested, kept, left)
        while not self.go.exists():
            time.sleep(0.01)

    def finish(self) -> None:
        self.inner.finish()


def _wait_for_others(notes: Path, count: int) -> None:
    (notes / f"ready-{os.getpid()}").touch()
    while len(list(notes.glob("ready-*"))) < count:
        time.sleep(0.01)


class Failing(Quick):
    """Raises on every second seed: an error of ours on seeds 1, 5, 9, …, a bug on 3, 7, 11, …."""

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        record = super().execute(run, task, progress, checkpoint)
        if run.seed % 4 == 1:
            raise PromptError("does not fit", where=f"task '{run.task}'", fix="write it anew")
        if run.seed % 4 == 3:
            raise ZeroDivisionError("a bug")
        return record


def failing(notes: Path, allotment: Allotment) -> Failing:
    """A worker that raises on every second seed."""
    return Failing(notes)


@dataclass
class Dying(Quick):
    """Kills its own process on run `deadly`, the first `times` times that it is tried."""

    deadly: str = ""
    times: int = 0

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        record = super().execute(run, task, progress, checkpoint)
        if run.run_id() == self.deadly and executions(self.notes).count(self.deadly) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return record


def dying(notes: Path, deadly: str, times: int, allotment: Allotment) -> Dying:
    """A worker that one run kills."""
    return Dying(notes, deadly, times)


@dataclass
class DiesCommitted(Quick):
    """Its process dies as soon as its first run is in the store, before it can say so."""

    runs: Path

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        record = super().execute(run, task, progress, checkpoint)
        if len(executions(self.notes)) == 1:
            threading.Thread(target=_die_once_there, args=(self.runs / run.run_id(),)).start()
        return record


def _die_once_there(folder: Path) -> None:
    while not folder.exists():
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def dies_committed(notes: Path, runs: Path, allotment: Allotment) -> DiesCommitted:
    """A worker that dies between its first commit and its answer."""
    return DiesCommitted(notes, runs)


class Endless(Quick):
    """Searches, and never comes to an end: a busy loop that tells of every step."""

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        super().execute(run, task)
        assert progress is not None
        progress.start(EDGES, "endless")
        step = 0
        try:
            while True:
                step = step % EDGES + 1
                progress.advance(step, 0, EDGES - step)
        except Exception as error:
            (self.notes / f"stopped-by-{type(error).__name__}").touch()
            raise
        raise AssertionError


def endless(notes: Path, allotment: Allotment) -> Endless:
    """A worker that searches until it is stopped."""
    return Endless(notes)


class Waiting(Quick):
    """Searches until the file `go` is among the notes."""

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        assert progress is not None
        while not (self.notes / "go").exists():
            progress.advance(1, 0, EDGES)
        return super().execute(run, task)


def waiting(notes: Path, allotment: Allotment) -> Waiting:
    """A worker that searches until it is told to come to an end."""
    return Waiting(notes)


def missing(allotment: Allotment) -> Quick:
    """No worker: what it needs is not installed."""
    raise ModuleNotFoundError("No module named 'unobtainium'")


def stillborn(allotment: Allotment) -> Quick:
    """No worker: its process dies while it starts."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
