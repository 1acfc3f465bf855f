"""Independent jobs on actors of a Ray cluster, for an evaluation in the process that drives it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from acdc_pipeline.execution.ray import cluster
from acdc_pipeline.execution.ray.capacity import choose_workers, possible_nodes
from acdc_pipeline.execution.ray.shards import ActorChannel
from acdc_pipeline.execution.shards.jobs import JobPool
from acdc_pipeline.execution.shards.messages import Channel
from acdc_pipeline.specs import WorkerProfile


def actor_pool(
    profile: WorkerProfile,
    device: str = "auto",
    report: Callable[[str], None] = lambda message: None,
    address: str | None = None,
) -> JobPool:
    """Make a pool whose workers are `profile.shards` actors; they start with the first job.

    This process is connected to the cluster until the pool is closed, which it can be once.

    Args:
        device: `auto` gives an actor the GPU that Ray reserves for it, else the CPU.
        report: receives a message before slow steps, and when an actor was lost.
        address: as `RayExecutor.address`.

    Raises:
        ExecutionFailed: no cluster answers.
        InvalidInput: the cluster has no room for the actors, or the profile requests no GPU for a
            device that is one.
    """
    cluster.check_device(profile, device)
    with ExitStack() as connection:
        where = connection.enter_context(cluster.connect(address, report))
        # One run at a time: the shards of one of the profile's actors.
        one = profile.model_copy(update={"actors": min(profile.actors, 1)})
        place = choose_workers(one, where, device, report).model_copy(update={"actors": 1})
        if (nodes := possible_nodes()) is not None:
            cluster.check_profile(place, nodes, where)
        kept = connection.pop_all()
    threads, resources = max(1, int(place.cpus)), cluster.resources_of(place)
    if device == "auto":
        device = "cuda" if place.gpus else "cpu"

    def start(number: int) -> Channel:
        return ActorChannel(number, resources, device, threads)

    return JobPool(start, place.shards or 1, report, ended=kept.close)
