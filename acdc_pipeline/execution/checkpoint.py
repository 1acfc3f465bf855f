"""Checkpoints: the decisions of a long run, stored while it works, so that it can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from acdc_pipeline.errors import StoreError
from acdc_pipeline.graph import Decision
from acdc_pipeline.store import Store


@runtime_checkable
class Checkpoint(Protocol):
    """The checkpoint of one run."""

    def load(self, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
        """Return the decisions of an earlier attempt under the same `conditions`."""
        ...

    def offer(self, decisions: Sequence[Decision], conditions: Mapping[str, str]) -> None:
        """Store all decisions so far if a checkpoint is due."""


@dataclass(frozen=True)
class BoundCheckpoint:
    """A checkpoint with the conditions of this attempt.

    Rounding differs between versions, devices, numbers of threads and byte budgets: decisions made
    under other conditions are not resumed.
    """

    checkpoint: Checkpoint
    conditions: Mapping[str, str]

    def load(self) -> tuple[Decision, ...]:
        return self.checkpoint.load(self.conditions)

    def offer(self, decisions: Sequence[Decision]) -> None:
        self.checkpoint.offer(decisions, self.conditions)


class NoCheckpoint(Checkpoint):
    """A checkpoint that stores nothing."""

    def load(self, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
        return ()


class StoreCheckpoint:
    """A checkpoint in the store that the run will be committed to, which then removes it.

    Args:
        every: seconds between two checkpoints, and before the first: shorter runs have none.
    """

    def __init__(
        self, store: Store, run_id: str, every: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._run_id = store, run_id
        self._every, self._clock = every, clock
        self._next = clock() + every

    def load(self, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
        """Return the decisions of an earlier attempt. Raises StoreError."""
        return self._store.checkpoint(self._run_id, conditions)

    def offer(self, decisions: Sequence[Decision], conditions: Mapping[str, str]) -> None:
        """Store the decisions if `every` seconds have passed since the last try."""
        if not decisions or self._clock() < self._next:
            return
        # A long search does not fail for its checkpoint: the store may work again when the run is
        # committed, and if not, the commit raises the error.
        with suppress(StoreError):
            self._store.save_checkpoint(self._run_id, decisions, conditions)
        self._next = self._clock() + self._every
