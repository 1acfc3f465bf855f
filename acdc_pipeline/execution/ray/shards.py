"""Runs spread over Ray actors: the actor of a shard, the channel to it, and its place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayTaskError
from ray.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from acdc_pipeline.execution.ray.cluster import Resources, workers_on
from acdc_pipeline.execution.ray.failures import NEVER_STARTS, WORKER_LOST, describe_failure
from acdc_pipeline.execution.shards.messages import Channel, WorkerDied, answer
from acdc_pipeline.specs import WorkerProfile

if TYPE_CHECKING:
    from acdc_pipeline.execution.shards.shard import Shard
    from acdc_pipeline.execution.shards.worker import ShardedWorker
    from acdc_pipeline.execution.worker import Worker


class ShardActor:
    """The Ray actor of one shard."""

    def __init__(self, device: str, threads: int) -> None:
        self._shard = cache(partial(_make_shard, device, threads))

    def answer(self, message: bytes) -> bytes:
        """Return the answer to a message of the driver of the run."""
        return answer(self._shard, message)


class ActorChannel:
    """A shard in an actor of its own, in the placement group of this process if it has one.

    Args:
        number: the bundle of the placement group.
        cpus, gpus: resources that Ray reserves for it.
        device, threads: as for `Shard`.
    """

    def __init__(self, number: int, cpus: float, gpus: float, device: str, threads: int) -> None:
        group = get_current_placement_group()
        options: dict[str, Any] = {
            "num_cpus": cpus,
            "num_gpus": gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        if group is not None:
            options["scheduling_strategy"] = place_in(group, number)
        actor_class: Any = ray.remote(**options)(ShardActor)
        self._actor = actor_class.remote(device, threads)
        self._answer: ray.ObjectRef | None = None

    def send(self, message: bytes) -> None:
        """Send a message; whether the actor lives shows when it should answer."""
        self._answer = self._actor.answer.remote(message)

    def receive(self) -> bytes:
        """Wait for the answer. Raises WorkerDied."""
        assert self._answer is not None
        try:
            return ray.get(self._answer)
        except RayTaskError:
            raise
        except (*WORKER_LOST, *NEVER_STARTS) as error:
            raise WorkerDied(describe_failure(error)) from error

    def close(self) -> None:
        """End the actor."""
        ray.kill(self._actor)


class OwnShard:
    """The shard that the process of the run computes itself, while the others compute theirs."""

    def __init__(self, device: str, threads: int) -> None:
        self._shard = cache(partial(_make_shard, device, threads))
        self._message = b""

    def send(self, message: bytes) -> None:
        """Keep a message until the answer is wanted: the other shards receive theirs first."""
        self._message = message

    def receive(self) -> bytes:
        """Return the answer."""
        return answer(self._shard, self._message)

    def close(self) -> None:
        """Nothing to end."""


def spread_over_actors(
    alone: Worker, shards: int, *, cpus: float, gpus: float, threads: int, device: str
) -> ShardedWorker:
    """Make the worker whose runs are spread over this process and `shards - 1` actors.

    Args:
        alone: the worker of this process, whose byte budget all shards have.
        cpus, gpus: resources of each actor; this process has its own.
    """
    from acdc_pipeline.execution.shards.worker import ShardedWorker

    def start(number: int) -> Channel:
        if number == 0:
            return OwnShard(device, threads)
        return ActorChannel(number, cpus, gpus, device, threads)

    return ShardedWorker(start, shards, alone.budget, lambda: alone)


def reserve(profile: WorkerProfile, nodes: Sequence[Resources]) -> PlacementGroup | None:
    """Reserve the places of one run's shards; None if runs are not spread.

    On one node, where all workers of the profile find room so; else as close together as possible.
    """
    if profile.shards is None or profile.shards == 1:
        return None
    bundle = {"CPU": profile.cpus} | ({"GPU": profile.gpus} if profile.gpus else {})
    together = sum(workers_on(node, profile.cpus, profile.gpus) // profile.shards for node in nodes)
    strategy = "STRICT_PACK" if together >= profile.actors else "PACK"
    return placement_group([bundle] * profile.shards, strategy=strategy)


def place_in(group: PlacementGroup, bundle: int) -> PlacementGroupSchedulingStrategy:
    """Return the strategy that places an actor at a bundle of `group`, and what it starts there."""
    return PlacementGroupSchedulingStrategy(
        group, placement_group_bundle_index=bundle, placement_group_capture_child_tasks=True
    )


def _make_shard(device: str, threads: int) -> Shard:
    from acdc_pipeline.execution.shards.shard import Shard

    return Shard(device, threads)
