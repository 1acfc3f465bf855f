"""A run that is ready to be handed to a worker, here or elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from acdc_pipeline.specs import RunSpec, TaskSpec


@dataclass(frozen=True)
class PlannedRun:
    """A run and the task its prompts come from: all that a worker needs to be told.

    Args:
        run: what to do, pinned to a revision of its model.
        task: the task itself, so that nobody has to find its folder again.
    """

    run: RunSpec
    task: TaskSpec

    @cached_property
    def run_id(self) -> str:
        """The run's name in the store."""
        return self.run.run_id()

    @property
    def model(self) -> tuple[str, str, str]:
        """What a worker has to load: model, revision, dtype. Equal for runs that share it."""
        return self.run.model, self.run.model_revision, self.run.dtype

    def __str__(self) -> str:
        return f"{self.run.task} in {self.run.model}"
