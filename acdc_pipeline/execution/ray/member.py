"""A worker process as the driver knows it, and what can happen to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acdc_pipeline.execution.planned import PlannedRun
from acdc_pipeline.execution.ray.actor import Answer
from acdc_pipeline.execution.ray.heartbeat import Position


@dataclass(eq=False)
class Member:
    """One worker process as the driver knows it.

    Args:
        actor: its handle.
        name: host and process id; empty until it is ready.
        node_id: its node; empty until it is ready.
        planned: the run it executes, None while it has none.
        attempt: how often that run has been given to a worker, this time included.
        since: when it was given that run, in seconds of a clock.
        asked: whether it owes an answer about its position.
    """

    actor: Any
    name: str = ""
    node_id: str = ""
    planned: PlannedRun | None = None
    attempt: int = 0
    since: float = 0.0
    asked: bool = False


@dataclass(frozen=True)
class Spell:
    """What a worker was at, and for how long.

    Args:
        planned: the run.
        attempt: counts from 1.
        seconds: of this attempt.
    """

    planned: PlannedRun
    attempt: int
    seconds: float


@dataclass(frozen=True)
class Ready:
    """A worker can take runs."""

    member: Member


@dataclass(frozen=True)
class Ended:
    """A run is over, with or without an error; the worker goes on."""

    member: Member
    spell: Spell
    answer: Answer


@dataclass(frozen=True)
class At:
    """A worker says how far it is in run `run_id`."""

    member: Member
    run_id: str
    position: Position


@dataclass(frozen=True)
class Lost:
    """A worker died, at work or not, or never came to life."""

    member: Member
    spell: Spell | None
    reason: str


Event = Ready | Ended | At | Lost
