"""Runs spread over Ray actors: the actor of a shard, the channel to it, and its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import OutOfMemoryError, RayTaskError
from ray.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from acdc_pipeline.execution.ray.cluster import (
    Resources,
    actor_options,
    resources_of,
    workers_on,
)
from acdc_pipeline.execution.ray.failures import NEVER_STARTS, WORKER_LOST, describe_failure
from acdc_pipeline.execution.shards.messages import Channel, WorkerDied, answer
from acdc_pipeline.specs import WorkerProfile
from acdc_pipeline.store.failure import RemoteFailure

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
        resources: those that Ray reserves for it, see `resources_of`.
        device, threads: as for `Shard`.
    """

    def __init__(self, number: int, resources: Resources, device: str, threads: int) -> None:
        group = get_current_placement_group()
        options = actor_options(resources)
        if group is not None:
            options["scheduling_strategy"] = place_in(group, number)
        actor_class: Any = ray.remote(**options)(ShardActor)
        self._actor = actor_class.remote(device, threads)
        self._answer: ray.ObjectRef | None = None

    def send(self, message: bytes) -> None:
        """Send a message; whether the actor lives shows when it should answer."""
        self._answer = self._actor.answer.remote(message)

    def receive(self) -> bytes:
        """Wait for the answer.

        Raises:
            WorkerDied: the actor ended, or cannot be reached any more.
            RemoteFailure: Ray ended it because the memory of its node ran out.
        """
        assert self._answer is not None
        try:
            return ray.get(self._answer)
        except RayTaskError:
            raise
        except OutOfMemoryError as error:
            raise RemoteFailure.of(error) from error
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
    alone: Worker,
    shards: int,
    *,
    resources: Resources,
    threads: int,
    device: str,
    report: Callable[[str], None],
) -> ShardedWorker:
    """Make the worker whose runs are spread over this process and `shards - 1` actors.

    Args:
        alone: the worker of this process, whose byte budget all shards have.
        resources: those of each actor; this process has its own.
        report: receives a message when an actor was lost.
    """
    from acdc_pipeline.execution.shards.worker import ShardedWorker

    def start(number: int) -> Channel:
        if number == 0:
            return OwnShard(device, threads)
        return ActorChannel(number, resources, device, threads)

    return ShardedWorker(start, shards, alone.budget, lambda: alone, report)


def reserve(profile: WorkerProfile, nodes: Sequence[Resources]) -> PlacementGroup | None:
    """Reserve the places of one run's shards; None if runs are not spread.

    On one node, where as many runs find room that way as at all; else as close together as
    possible.
    """
    if profile.shards is None or profile.shards == 1:
        return None
    bundle = resources_of(profile)
    rooms = [workers_on(node, bundle) for node in nodes]
    together = sum(room // profile.shards for room in rooms)
    wanted = min(profile.actors, sum(rooms) // profile.shards)
    strategy = "STRICT_PACK" if together >= wanted else "PACK"
    return placement_group([bundle] * profile.shards, strategy=strategy)


def place_in(group: PlacementGroup, bundle: int) -> PlacementGroupSchedulingStrategy:
    """Return the strategy that places an actor at a bundle of `group`, and what it starts there."""
    return PlacementGroupSchedulingStrategy(
        group, placement_group_bundle_index=bundle, placement_group_capture_child_tasks=True
    )


def _make_shard(device: str, threads: int) -> Shard:
    from acdc_pipeline.execution.shards.shard import Shard

    return Shard(device, threads)
