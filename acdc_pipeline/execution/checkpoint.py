"""The decisions of a long run, kept as it goes on: another attempt need not begin anew."""

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
    """Where one run's decisions are kept until it is committed."""

    def log(self, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
        """What an earlier attempt left that worked under the same `conditions`."""
        ...

    def offer(self, decisions: Sequence[Decision], conditions: Mapping[str, str]) -> None:
        """All decisions so far, at a place to go on from. Kept if it is time to."""
        ...


@dataclass(frozen=True)
class Kept:
    """A checkpoint, and the conditions under which this attempt works.

    Roundings differ from one version, device or number of threads to the next, and with the byte
    budget: what was decided under other conditions is not gone on with.
    """

    checkpoint: Checkpoint
    conditions: Mapping[str, str]

    def log(self) -> tuple[Decision, ...]:
        """The decisions to begin with."""
        return self.checkpoint.log(self.conditions)

    def offer(self, decisions: Sequence[Decision]) -> None:
        """All decisions so far, at a place to go on from."""
        self.checkpoint.offer(decisions, self.conditions)


class NoCheckpoint:
    """Keeps nothing: for runs that are not stored."""

    def log(self, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
        """Nothing."""
        return ()

    def offer(self, decisions: Sequence[Decision], conditions: Mapping[str, str]) -> None:
        """Nothing."""


class StoreCheckpoint:
    """Keeps the decisions in the store that the run will be committed to.

    Args:
        store: the store, which removes them when it is given the run.
        run_id: the run.
        every: seconds from one time to the next, and from the start to the first: what takes
            less is never written.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        every: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._every = every
        self._clock = clock
        self._next = clock() + every

    def log(self, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
        """What an earlier attempt left, made under the same `conditions`. Raises StoreError."""
        return self._store.checkpoint(self._run_id, conditions)

    def offer(self, decisions: Sequence[Decision], conditions: Mapping[str, str]) -> None:
        """Keeps the decisions if `every` seconds have passed since that was last tried."""
        if not decisions or self._clock() < self._next:
            return
        # A search of hours is not given up for its safety net: the store may be back when the run
        # is committed, and if it is not, that is where it is said.
        with suppress(StoreError):
            self._store.save_checkpoint(self._run_id, decisions, conditions)
        self._next = self._clock() + self._every
