"""Does the cluster have what a worker profile asks for? Asked before anything is queued.

Ray queues a request that nothing can ever fulfil, and says nothing. It knows CPUs, GPUs and host
memory of its nodes, but no memory of GPUs: whether a budget fits a GPU shows when a worker starts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs import WorkerProfile

Resources = Mapping[str, float]

# Sums of fractions such as 0.1 fall short of whole numbers by less than this.
_ROUNDING = 1e-6


def check_profile(profile: WorkerProfile, nodes: Sequence[Resources], where: str) -> None:
    """Raises InvalidInput unless all workers of `profile` fit on `nodes` at once.

    Args:
        profile: how many workers, with how many CPUs and GPUs each.
        nodes: `{"CPU": 4.0, "GPU": 1.0, …}` of each node.
        where: the cluster, for the message.
    """
    room = sum(workers_on(node, profile.cpus, profile.gpus) for node in nodes)
    if room >= profile.actors:
        return
    lacking = {
        kind: profile.actors * each - sum(node.get(kind, 0.0) for node in nodes)
        for kind, each in (("CPU", profile.cpus), ("GPU", profile.gpus))
    }
    missing = "; ".join(
        f"{_counted(number, kind)} {'is' if number == 1 else 'are'} missing"
        for kind, number in lacking.items()
        if number > _ROUNDING
    )
    why = missing or "there is enough in all, but not in the right places"
    raise InvalidInput(
        f"has no room for {_counted(profile.actors, 'worker')} with {_each(profile)}: {why}",
        where=where,
        field="actors",
        allowed=f"{room} on {_described(nodes)}",
        fix=f"set actors: {room} in the worker profile, or add nodes"
        if room
        else "ask for less in cpus and gpus of the worker profile, or add nodes",
    )


def check_device(profile: WorkerProfile, device: str) -> None:
    """Raises InvalidInput where runs shall compute on GPUs that the profile does not ask for."""
    if device.startswith("cuda") and not profile.gpus:
        raise InvalidInput(
            f"device '{device}' needs a GPU, and the worker profile asks for none",
            field="gpus",
            fix="set gpus: 1 in the worker profile, or use --device auto",
        )


def workers_on(node: Resources, cpus: float, gpus: float) -> int:
    """How many workers with `cpus` and `gpus` each one node takes."""
    room = math.floor(node.get("CPU", 0.0) / cpus + _ROUNDING)
    if gpus:
        have = node.get("GPU", 0.0)
        # Shares of a GPU are shares of one GPU: two of 0.6 need two.
        each = math.floor(1 / gpus + _ROUNDING)
        room = min(room, math.floor(have) * each if gpus < 1 else math.floor(have / gpus))
    return room


def _each(profile: WorkerProfile) -> str:
    gpus = f" and {_counted(profile.gpus, 'GPU')}" if profile.gpus else ""
    return f"{_counted(profile.cpus, 'CPU')}{gpus} each"


def _described(nodes: Sequence[Resources]) -> str:
    kinds = Counter((node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes)
    return "; ".join(
        f"{_counted(count, 'node')} with {_counted(cpus, 'CPU')} and {_counted(gpus, 'GPU')}"
        for (cpus, gpus), count in kinds.items()
    )


def _counted(number: int | float, noun: str) -> str:
    return f"{number:g} {noun}" + ("" if number == 1 else "s")
