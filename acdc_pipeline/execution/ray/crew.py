"""The workers of a sweep: started, listened to, replaced when they die, dismissed at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

import ray
from ray.exceptions import RayActorError, RayTaskError

import acdc_pipeline
from acdc_pipeline.errors import AcdcError, ExecutionFailed
from acdc_pipeline.execution.cause import failure_of
from acdc_pipeline.execution.planned import PlannedRun
from acdc_pipeline.execution.ray.actor import TALK, Greeting, RunActor, Settings
from acdc_pipeline.execution.ray.deaths import (
    DEATHS,
    NEVER_STARTS,
    cannot_start,
    says_why,
    why_not_ready,
)
from acdc_pipeline.execution.ray.member import (
    At,
    Ended,
    Event,
    Lost,
    Member,
    Ready,
    Spell,
)
from acdc_pipeline.specs import TaskSpec, WorkerProfile

# Between two attempts to start workers where the last one died while starting, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

_Call = Literal["ready", "execute", "position"]


class Crew:
    """Workers that are starting, idle or at work.

    Args:
        profile: how many, with what.
        settings: what each is told.
    """

    def __init__(self, profile: WorkerProfile, settings: Settings) -> None:
        options: dict[str, Any] = {
            "num_cpus": profile.cpus,
            "num_gpus": profile.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {TALK: 1},
            "runtime_env": dict(profile.runtime_env) or None,
        }
        self._actor: Any = ray.remote(**options)(RunActor)
        self._settings = settings
        self._most = profile.actors
        self._calls: dict[ray.ObjectRef, tuple[_Call, Member]] = {}
        self._starting: set[Member] = set()
        self._members: dict[str, Member] = {}
        self._tasks: dict[int, tuple[TaskSpec, ray.ObjectRef]] = {}
        self._pause, self._not_before = 0.0, 0.0
        self._last_there = time.monotonic()
        self.trouble: AcdcError | None = None
        """Why the last worker did not start."""

    @property
    def idle(self) -> list[Member]:
        """Workers that have nothing to do."""
        return [member for member in self._members.values() if member.planned is None]

    @property
    def working(self) -> list[Member]:
        """Workers that execute a run."""
        return [member for member in self._members.values() if member.planned is not None]

    @property
    def hopeless(self) -> bool:
        """Whether no worker is there, and none will ever come."""
        return self._most == 0 and not self._members and not self._starting

    @property
    def seconds_without_worker(self) -> float:
        """For how long no worker has been there; 0 while one is."""
        if self._members:
            self._last_there = time.monotonic()
        return time.monotonic() - self._last_there

    def staff(self, wanted: int) -> int:
        """Starts workers until `wanted` are there or starting; how many it started."""
        missing = min(wanted, self._most) - len(self._members) - len(self._starting)
        if missing <= 0 or time.monotonic() < self._not_before:
            return 0
        self._settings.probe.write()
        for _ in range(missing):
            member = Member(self._actor.remote(self._settings))
            self._starting.add(member)
            self._calls[member.actor.ready.remote()] = "ready", member
        return missing

    def give(self, member: Member, planned: PlannedRun, attempt: int) -> None:
        """Has an idle worker execute a run."""
        member.planned, member.attempt, member.since = planned, attempt, time.monotonic()
        task = self._shared(planned.task)
        self._calls[member.actor.execute.remote(planned.run, [task], attempt)] = "execute", member

    def ask(self) -> None:
        """Asks every worker at work how far it is, except those that still owe an answer."""
        for member in self.working:
            if not member.asked:
                member.asked = True
                ref = member.actor.position.options(concurrency_group=TALK).remote()
                self._calls[ref] = "position", member

    def wait(self, seconds: float) -> Event | None:
        """The next thing that happens, or None if nothing does for so many seconds."""
        if not self._calls:
            time.sleep(seconds)
            return None
        done, _ = ray.wait(list(self._calls), num_returns=1, timeout=seconds)
        return self._event(done[0]) if done else None

    def dismiss(self, member: Member) -> None:
        """Ends a worker's process."""
        self._members.pop(member.name, None)
        self._starting.discard(member)
        for ref in [ref for ref, (_, whose) in self._calls.items() if whose is member]:
            del self._calls[ref]
        ray.kill(member.actor)

    def stop(self, seconds: float) -> Iterator[Event]:
        """Ends runs between two steps and tells what became of them, for at most `seconds`."""
        for member in self.working:
            member.actor.cancel.options(concurrency_group=TALK).remote()
        deadline = time.monotonic() + seconds
        while self.working and (left := deadline - time.monotonic()) > 0:
            if (event := self.wait(left)) is not None:
                yield event

    def close(self) -> None:
        """Ends every process."""
        for member in [*self._members.values(), *self._starting]:
            self.dismiss(member)
        self._settings.probe.remove()

    def _shared(self, task: TaskSpec) -> ray.ObjectRef:
        # A file of pairs may have megabytes: it travels to a node once, not with every run.
        if id(task) not in self._tasks:
            self._tasks[id(task)] = task, ray.put(task)
        return self._tasks[id(task)][1]

    def _event(self, ref: ray.ObjectRef) -> Event:
        call, member = self._calls.pop(ref)
        try:
            answer = ray.get(ref)
        except DEATHS as error:
            if isinstance(error, RayActorError) and error.actor_init_failed:
                return self._never_starts(member, cannot_start(says_why(error)))
            return self._lost(member, says_why(error))
        except NEVER_STARTS as error:
            return self._never_starts(member, cannot_start(says_why(error)))
        except RayTaskError as error:
            if call == "ready":
                return self._never_starts(member, why_not_ready(error))
            # An actor tells of what goes wrong in a run; this is a fault on the way to it.
            spell = self._spell_of(member)
            failure = failure_of(
                spell.planned, error.cause, worker=member.name, attempts=spell.attempt
            )
            return Ended(member, spell, failure)
        if call == "ready":
            return self._ready(member, answer)
        if call == "position":
            member.asked = False
            return At(member, *answer)
        return Ended(member, self._spell_of(member), answer)

    def _ready(self, member: Member, greeting: Greeting) -> Event:
        if greeting.version != acdc_pipeline.__version__:
            versions = f"it has acdc-pipeline {greeting.version}, not {acdc_pipeline.__version__}"
            return self._never_starts(member, cannot_start(versions))
        self._starting.discard(member)
        member.name, member.node_id = greeting.name, greeting.node_id
        self._members[member.name] = member
        self._pause = 0.0
        return Ready(member)

    def _never_starts(self, member: Member, trouble: AcdcError) -> Event:
        self.trouble = trouble
        self._most -= 1
        self.dismiss(member)
        return Lost(member, None, trouble.problem)

    def _lost(self, member: Member, reason: str) -> Event:
        if member in self._starting:
            self.trouble = ExecutionFailed(f"a worker died while it started: {reason}")
            # Workers that were started together and die together count once.
            if time.monotonic() >= self._not_before:
                self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
                self._not_before = time.monotonic() + self._pause
        spell = self._spell_of(member) if member.planned is not None else None
        # Out of reach is not dead: what cannot be heard must not go on either.
        self.dismiss(member)
        return Lost(member, spell, reason)

    def _spell_of(self, member: Member) -> Spell:
        assert member.planned is not None
        spell = Spell(member.planned, member.attempt, time.monotonic() - member.since)
        member.planned = None
        return spell
