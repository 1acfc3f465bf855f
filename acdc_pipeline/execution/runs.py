"""Planned runs and their outcomes: what executors receive and return."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from acdc_pipeline.errors import AcdcError
from acdc_pipeline.specs import RunSpec, TaskSpec

State = Literal["committed", "present", "failed"]
"""`present`: the store had the run when its turn came; nothing was computed."""


@dataclass(frozen=True)
class PlannedRun:
    """A run and the task its prompts come from: everything that a worker needs."""

    run: RunSpec
    task: TaskSpec

    @cached_property
    def run_id(self) -> str:
        return self.run.run_id()

    @property
    def model(self) -> tuple[str, str, str]:
        """Model, revision and dtype to load: equal for runs that share a loaded model."""
        return self.run.model, self.run.model_revision, self.run.dtype

    def __str__(self) -> str:
        return f"{self.run.task} in {self.run.model}"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Args:
        seconds: duration of all attempts together.
        worker: name of the worker of the last attempt.
        edges_kept: size of its circuit; None without a circuit.
    """

    planned: PlannedRun
    state: State
    seconds: float
    attempts: int
    worker: str
    edges_kept: int | None = None
    error: AcdcError | None = None
