"""The driver's loop: who gets which run, what is tried again, what has failed for good."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import assert_never

from acdc_pipeline.errors import AcdcError, ExecutionFailed
from acdc_pipeline.execution.cause import failure_of
from acdc_pipeline.execution.executor import Outcome, State, SweepListener
from acdc_pipeline.execution.planned import PlannedRun
from acdc_pipeline.execution.ray.actor import Finished, Stopped, StoreBroke
from acdc_pipeline.execution.ray.crew import Crew
from acdc_pipeline.execution.ray.member import (
    At,
    Ended,
    Event,
    Lost,
    Member,
    Ready,
    Spell,
)
from acdc_pipeline.execution.ray.metrics import SweepMetrics
from acdc_pipeline.execution.ray.nodes import draining_nodes
from acdc_pipeline.execution.ray.queue import RunQueue
from acdc_pipeline.specs import WorkerProfile
from acdc_pipeline.store import RunFailure, Store

# Between two questions to the workers about how far they are, and to Ray about nodes that are
# being drained; in seconds.
BEAT = 1.0

# Between two words about there being no worker, in seconds.
SILENCE = 30.0

# How long a cancelled run may take to reach its next step, in seconds; loading a model has none.
GRACE = 10.0


@dataclass
class _Past:
    """What is known of a run that has begun: all its attempts together."""

    attempts: int = 0
    seconds: float = 0.0
    tested: int = 0


class Dispatch:
    """One sweep on its workers.

    Args:
        runs: what to do.
        store: where failures are recorded; the workers have it too.
        listener: told what happens.
        crew: the workers.
        profile: how many of them, and how often a run is tried.
        patience: seconds without any worker after which to give up.
    """

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        store: Store,
        listener: SweepListener,
        crew: Crew,
        profile: WorkerProfile,
        patience: float,
    ) -> None:
        self._queue = RunQueue({run.run_id: run for run in runs}.values())
        self._store = store
        self._listener = listener
        self._crew = crew
        self._profile = profile
        self._patience = patience
        self._metrics = SweepMetrics(time.monotonic)
        self._past: dict[str, _Past] = {}
        self._loaded: dict[str, tuple[str, str, str]] = {}
        self._draining: frozenset[str] = frozenset()
        self._next_beat = time.monotonic()
        self._next_word = SILENCE

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Works through the runs. Closed early, it cancels those at work and waits for them.

        Raises:
            ExecutionFailed: no worker can be started, or none for as long as patience lasts.
            StoreError: the store does not take what is written to it.
        """
        try:
            while self._queue or self._crew.working:
                self._feed()
                self._staff()
                self._check_hope()
                event = self._crew.wait(max(0.0, self._next_beat - time.monotonic()))
                if event is not None and (outcome := self._after(event)) is not None:
                    yield outcome
                if time.monotonic() >= self._next_beat:
                    self._beat()
            self._metrics.update(0)
        finally:
            for event in self._crew.stop(GRACE):
                if isinstance(event, Ended) and not isinstance(event.answer, StoreBroke):
                    self._end(event)

    def _feed(self) -> None:
        for member in self._crew.idle:
            if member.node_id in self._draining:
                self._lose(Lost(member, None, "its node is being drained"))
                self._crew.dismiss(member)
            elif (planned := self._queue.take(member.name)) is not None:
                self._give(member, planned)

    def _staff(self) -> None:
        unfinished = len(self._queue) + len(self._crew.working)
        if started := self._crew.staff(unfinished):
            self._listener.waiting(f"starting {started} worker" + ("s" if started > 1 else ""))

    def _give(self, member: Member, planned: PlannedRun) -> None:
        past = self._past.setdefault(planned.run_id, _Past())
        past.attempts += 1
        past.tested = 0
        if self._loaded.get(member.name) != planned.model:
            self._loaded[member.name] = planned.model
            self._metrics.loaded()
        self._crew.give(member, planned, past.attempts)
        self._listener.started(member.name, planned, past.attempts)

    def _check_hope(self) -> None:
        if self._crew.hopeless:
            raise self._crew.trouble or ExecutionFailed("no worker can be started")
        alone = self._crew.seconds_without_worker
        if alone <= self._patience:
            self._next_word = SILENCE if alone < SILENCE else self._next_word
            if alone >= self._next_word:
                self._listener.waiting(f"no worker for {alone:.0f} s; 'ray status' says why")
                self._next_word += SILENCE
            return
        trouble = self._crew.trouble
        raise ExecutionFailed(
            f"no worker for {self._patience:g} seconds"
            + (f"; {trouble.problem}" if trouble else ""),
            where="the Ray cluster",
            fix="look at 'ray status', and run the command again: what is committed stays",
        )

    def _beat(self) -> None:
        self._next_beat = time.monotonic() + BEAT
        self._crew.ask()
        self._metrics.update(len(self._queue))
        self._draining = draining_nodes()

    def _after(self, event: Event) -> Outcome | None:
        match event:
            case Ready():
                return None
            case At():
                return self._heard(event)
            case Lost():
                return self._lose(event)
            case Ended():
                return self._end(event)
            case _:
                assert_never(event)

    def _heard(self, event: At) -> None:
        planned = event.member.planned
        if planned is not None and planned.run_id == event.run_id:
            self._count(planned, event.position[0])
            self._listener.advanced(event.member.name, *event.position)

    def _count(self, planned: PlannedRun, tested: int) -> None:
        past = self._past[planned.run_id]
        self._metrics.tested(tested - past.tested)
        past.tested = tested

    def _end(self, event: Ended) -> Outcome | None:
        member, spell = event.member, event.spell
        match event.answer:
            case StoreBroke(error):
                raise error
            case RunFailure() as failure:
                if failure.traceback:
                    self._distrust(member, failure)
                return self._fail(spell, failure)
            case Finished(state, kept, tested):
                self._count(spell.planned, tested)
                return self._told(spell, state, member.name, kept)
            case Stopped():
                return None
            case _:
                assert_never(event.answer)

    def _distrust(self, member: Member, failure: RunFailure) -> None:
        """After an error that nobody foresaw the worker has nothing loaded any more."""
        self._queue.forget(member.name)
        self._loaded.pop(member.name, None)
        # An error of CUDA stays with its process: every later run would meet it again.
        if "CUDA" in failure.problem:
            self._crew.dismiss(member)

    def _lose(self, event: Lost) -> Outcome | None:
        name, spell = event.member.name or "a worker that was starting", event.spell
        self._queue.forget(name)
        self._loaded.pop(name, None)
        self._metrics.lost()
        self._listener.lost(name, spell.planned if spell else None, event.reason)
        if spell is None:
            return None
        planned = spell.planned
        if self._store.has(planned.run_id):
            # It died after its commit and before its answer.
            circuit = self._store.get(planned.run_id).circuit
            return self._told(spell, "committed", name, None if circuit is None else len(circuit))
        if spell.attempt < self._profile.attempts:
            self._past[planned.run_id].seconds += spell.seconds
            self._queue.put_back(planned)
            return None
        often = "once" if spell.attempt == 1 else f"{spell.attempt} times"
        died = ExecutionFailed(
            f"its worker died {often}; the last time: {event.reason}",
            where=str(planned),
            fix="look for memory that runs out on the nodes, and at 'ray logs'; more attempts are "
            "allowed by 'attempts' of the worker profile",
        )
        return self._fail(spell, failure_of(planned, died, worker=name, attempts=spell.attempt))

    def _fail(self, spell: Spell, failure: RunFailure) -> Outcome:
        self._store.record_failure(failure)
        return self._told(spell, "failed", failure.worker, None, failure.error())

    def _told(
        self,
        spell: Spell,
        state: State,
        worker: str,
        kept: int | None,
        error: AcdcError | None = None,
    ) -> Outcome:
        past = self._past.pop(spell.planned.run_id)
        seconds = past.seconds + spell.seconds
        outcome = Outcome(spell.planned, state, seconds, past.attempts, worker, kept, error)
        self._metrics.ended(state)
        self._listener.ended(outcome)
        return outcome
