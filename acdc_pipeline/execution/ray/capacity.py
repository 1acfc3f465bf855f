"""What a cluster has room for: workers chosen from its nodes, and nodes that it may still add."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray._private.state import state as cluster_state
from ray.autoscaler.sdk import request_resources

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.ray.cluster import (
    GROUP_LABEL,
    Resources,
    may_grow,
    node_resources,
    resources_of,
    workers_on,
)
from acdc_pipeline.specs import WorkerProfile
from acdc_pipeline.specs.profile import AUTO
from acdc_pipeline.text import pluralize

_ENGINE_SHARE = 0.5
"""Of the memory of a worker, the part for the engine; the rest is for the weights."""

_STEP = 2**26
"""Byte budgets are whole numbers of these, so that those of nodes of one kind are equal."""

_ANY_CPUS = 1e-6
"""As the CPUs of a worker: GPUs alone decide how many workers fit."""

_FIRST_WORKERS = 8
"""Workers requested from an autoscaler while there is no node: each fits on any."""

_MOST_NODES = 10_000
"""Nodes of a group without a limit."""


def workers_for(
    profile: WorkerProfile,
    nodes: Sequence[Resources],
    where: str,
    *,
    device: str = "auto",
    grows: bool = False,
) -> WorkerProfile:
    """Return `profile` with the workers that `nodes` have room for, if it leaves them open.

    One worker for each GPU (or for as many as the profile says) where a node has GPUs, with its
    part of the node's CPUs; else one for every `cpus` CPUs, or for the CPUs of the largest node
    where that has fewer. On CPUs, the byte budget of a profile without one is half of the memory
    that Ray counts for a worker: equal at every start, so that another driver resumes checkpoints.

    Args:
        device: as given by the user; `cpu` takes no GPU.
        grows: whether an autoscaler may add nodes of unknown kinds; where there is no room yet, the
            workers are then a few of one CPU each.

    Raises:
        InvalidInput: no node has room for a worker.
    """
    if profile.actors != AUTO:
        return profile
    shares = [
        node.get("CPU", 0.0) / fitting
        for node in nodes
        if device != "cpu" and (fitting := _workers_by_gpus(node, profile.gpus))
    ]
    gpus = profile.gpus if any(shares) else 0.0
    cpus = min(filter(None, shares)) if gpus else max((n.get("CPU", 0.0) for n in nodes), default=0)
    cpus = min(profile.cpus, cpus)
    sized = profile.model_copy(update={"cpus": cpus, "gpus": gpus})
    room = sum(workers_on(node, resources_of(sized)) for node in nodes) if cpus else 0
    actors = room // (profile.shards or 1)
    if not actors and grows:
        few = {"actors": _FIRST_WORKERS, "cpus": min(profile.cpus, 1.0), "gpus": 0.0}
        return profile.model_copy(update=few)
    if not actors:
        raise InvalidInput(
            f"has room for {pluralize(room, 'worker')}",
            where=where,
            allowed=f"at least {profile.shards}, among which the prompts of a run are spread"
            if room
            else "a node with at least one CPU",
            fix=f"set shards: {room} in the worker profile, or add nodes"
            if room
            else "add nodes: 'ray start --address=HEAD:6379' on each",
        )
    fitted = sized.model_copy(update={"actors": actors})
    if profile.memory is None and not gpus:
        fitted = fitted.model_copy(update={"memory": _budget(fitted, nodes)})
    return fitted


def describe_workers(profile: WorkerProfile) -> str:
    """Return the workers of a profile in one line, as in `2 workers with 2 CPUs each`."""
    number = profile.actors * (profile.shards or 1)
    each = f"{profile.cpus:g} CPU" + ("" if profile.cpus == 1 else "s")
    if profile.gpus:
        each += f" and {profile.gpus:g} GPU" + ("" if profile.gpus == 1 else "s")
    return f"{pluralize(number, 'worker')} with {each}" + (" each" if number > 1 else "")


def possible_nodes() -> list[Resources] | None:
    """Return the nodes that the cluster has or may add; None if its autoscaler has unknown limits.

    On some platforms only, the autoscaler publishes its groups of nodes and the most nodes of each.
    """
    alive = [node for node in ray.nodes() if node["Alive"]]
    if not may_grow():
        return [node["Resources"] for node in alive]
    config = cluster_state.get_cluster_config()
    groups = {} if config is None else {g.name: g for g in config.node_group_configs}
    if not groups:
        return None
    return nodes_at_most(alive, groups)


def nodes_at_most(alive: Sequence[Mapping[str, Any]], groups: Mapping[str, Any]) -> list[Resources]:
    """Return the nodes of a cluster whose groups have all nodes that they may have.

    Args:
        alive: nodes as `ray.nodes` returns them.
        groups: `NodeGroupConfig` of each group by its name.
    """
    found = [node["Resources"] for node in alive if _group_of(node) not in groups]
    for group in groups.values():
        most = _MOST_NODES if group.max_count < 0 else min(group.max_count, _MOST_NODES)
        found += [{kind: float(amount) for kind, amount in group.resources.items()}] * most
    return found


def choose_workers(
    profile: WorkerProfile, where: str, device: str, report: Callable[[str], None]
) -> WorkerProfile:
    """Return `profile` with a number of workers: its own, or what this cluster has room for.

    Args:
        report: receives the line that says what was chosen.

    Raises:
        InvalidInput: the cluster has no room.
    """
    if profile.actors != AUTO:
        return profile
    possible = possible_nodes()
    nodes = node_resources() if possible is None else possible
    chosen = workers_for(profile, nodes, where, device=device, grows=possible is None)
    report(f"{describe_workers(chosen)}: {origin_of(chosen, nodes)}")
    return chosen


def origin_of(chosen: WorkerProfile, nodes: Sequence[Resources]) -> str:
    """Return where the number of workers of a profile comes from that had none."""
    if any(workers_on(node, resources_of(chosen)) for node in nodes):
        return "what the cluster has room for"
    return "a first request to the autoscaler, for there is no node for work yet"


class Demand:
    """What the autoscaler of this cluster keeps room for. Nothing is requested without one."""

    def __init__(self, profile: WorkerProfile, report: Callable[[str], None]) -> None:
        self._profile = profile
        self._bundle = resources_of(profile)
        self._report = report
        self._requested = 0

    def want(self, runs: int) -> None:
        """Request room for the workers of `runs` runs that are not finished."""
        number = min(runs, self._profile.actors) * (self._profile.shards or 1)
        if number == self._requested:
            return
        if number > self._requested:
            self._report(f"room for {pluralize(number, 'worker')} requested from the autoscaler")
        request_resources(bundles=[self._bundle] * number)
        self._requested = number


@contextmanager
def requested_room(
    profile: WorkerProfile, report: Callable[[str], None]
) -> Iterator[Callable[[int], None]]:
    """Tell the autoscaler which workers are wanted; yields what to call with the runs left.

    The request replaces that of any other driver of the cluster, holds until it is replaced, and is
    withdrawn at the end. Without an autoscaler nothing is requested.
    """
    if not may_grow():
        yield lambda runs: None
        return
    demand = Demand(profile, report)
    try:
        yield demand.want
    finally:
        demand.want(0)


def _group_of(node: Mapping[str, Any]) -> str | None:
    return (node.get("Labels") or {}).get(GROUP_LABEL)


def _workers_by_gpus(node: Resources, gpus: float) -> int:
    each = {"CPU": _ANY_CPUS, "GPU": gpus}
    return workers_on({**node, "CPU": 1.0}, each) if gpus and node.get("GPU") else 0


def _budget(profile: WorkerProfile, nodes: Sequence[Resources]) -> int | None:
    """Return the byte budget of each worker; None where Ray counts too little memory for one."""
    shares = [
        node["memory"] * profile.cpus / node["CPU"]
        for node in nodes
        if "memory" in node and workers_on(node, resources_of(profile))
    ]
    steps = int(min(shares, default=0.0) * _ENGINE_SHARE // _STEP)
    return steps * _STEP or None
