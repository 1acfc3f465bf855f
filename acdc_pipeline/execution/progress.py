"""The listeners to long work: a sweep of runs, the search of one run, an evaluation in parts.

Terminal, notebook and log output implement these protocols, and so do the executors where they pass
events on.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from acdc_pipeline.execution.runs import Outcome, PlannedRun


@runtime_checkable
class SweepListener(Protocol):
    """A listener to a sweep: the events of its runs and workers."""

    def waiting(self, reason: str) -> None:
        """Nothing can start before a slow step: connecting to a cluster, starting a worker."""

    def started(self, worker: str, planned: PlannedRun, attempt: int) -> None:
        """A worker started an attempt at a run; attempts count from 1."""

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        """A worker's run has so many edges tested, kept, and possibly left to test."""

    def lost(self, worker: str, planned: PlannedRun | None, reason: str) -> None:
        """A worker died; its run, if it had one, goes back to the front of the queue."""

    def ended(self, outcome: Outcome) -> None:
        """A run was committed, was present already, or failed for good."""


@runtime_checkable
class Progress(Protocol):
    """A listener to the search of one run."""

    def start(self, total_edges: int, label: str) -> None:
        """A search over `total_edges` edges begins."""

    def advance(self, tested: int, kept: int, left: int) -> None:
        """The search has so many edges tested, kept, and possibly left to test."""

    def finish(self) -> None:
        """The search is over, whether it succeeded or not."""


@runtime_checkable
class PartProgress(Protocol):
    """A listener to work in named parts, such as an evaluation."""

    def part(self, name: str, number: int, of: int) -> None:
        """Part `number` of `of`, counted from 1, begins; the one before it is over."""

    def share(self, done: float) -> None:
        """The fraction `done` of the part is done, from 0 to 1."""


class SilentSweep(SweepListener):
    """A `SweepListener` that reports nothing."""


class Silent(Progress):
    """A `Progress` that reports nothing."""


class SilentParts(PartProgress):
    """A `PartProgress` that reports nothing."""
