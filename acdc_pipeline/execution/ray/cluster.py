"""The Ray cluster: connecting to it, its nodes, and whether a worker profile fits on them."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.ray_logging import stdout_deduplicator
from ray._private.state import state as cluster_state
from ray.exceptions import RayError
from ray.experimental.internal_kv import _internal_kv_get

from acdc_pipeline.errors import ExecutionFailed, InvalidInput
from acdc_pipeline.specs import WorkerProfile
from acdc_pipeline.specs.names import device_indices
from acdc_pipeline.specs.profile import amount_of

Resources = Mapping[str, float]
"""Resources of a node: `{"CPU": 4.0, "GPU": 1.0, …}`."""

_ADDRESS_FORMS = "host:port, auto, local"

# In seconds, for a head node that is running; Ray itself would try for minutes.
_CONNECTION_TIMEOUT = 10.0

# Sums of fractions such as 0.1 fall short of whole numbers by less than this.
_ROUNDING = 1e-6

# Set on nodes by `ray up` and KubeRay; nodes started by hand have none.
GROUP_LABEL = "ray.io/node-group"

# Prefix of the type of nodes that Ray's monitor did not start itself.
UNMANAGED_NODE = "node_"


@contextmanager
def connect(address: str | None, report: Callable[[str], None]) -> Iterator[str]:
    """Connect this process to a cluster while the context lasts; yields its address.

    A process that is connected already stays so. A cluster that is started here ends here.

    Args:
        address: `host:port`; `auto`, the cluster of this machine; `local`, a new one on this
            machine; None is the cluster of the Ray job that this process belongs to, else `local`.
        report: receives a message before slow steps.

    Raises:
        InvalidInput: it is not the address of a cluster.
        ExecutionFailed: no cluster answers there, or none can be started here.
    """
    if ray.is_initialized():
        yield ray.get_runtime_context().gcs_address
        return
    wanted = address or ("auto" if os.environ.get("RAY_ADDRESS") else "local")
    if wanted not in ("auto", "local"):
        _check_reachable(wanted)
    report(
        "starting Ray on this machine (about 10 seconds)"
        if wanted == "local"
        else f"connecting to the Ray cluster {os.environ.get('RAY_ADDRESS', wanted)}"
    )
    with _restored_sigterm_handler(), _quiet_ray():
        _start_ray(wanted)
        try:
            yield ray.get_runtime_context().gcs_address
        finally:
            ray.shutdown()


def node_resources() -> list[Resources]:
    """Return the resources of every living node."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def draining_nodes() -> frozenset[str]:
    """Return the ids of nodes that are being drained or preempted."""
    return frozenset(cluster_state.get_draining_nodes())


def may_grow() -> bool:
    """Return whether the cluster has an autoscaler. Its limits are not known."""
    labelled = any(GROUP_LABEL in (node.get("Labels") or {}) for node in ray.nodes())
    return labelled or is_autoscaled(_internal_kv_get(DEBUG_AUTOSCALING_STATUS))


def is_autoscaled(status: bytes | None) -> bool:
    """Return whether a status of Ray's monitor contains nodes that the monitor started."""
    if not status:
        return False
    document: dict[str, Any] = json.loads(status)
    report = document.get("autoscaler_report") or {}
    # A node that has just started is not active yet, and has a type.
    kinds = {*(report.get("active_nodes") or {}), *(report.get("node_type_mapping") or {}).values()}
    return any(not kind.startswith(UNMANAGED_NODE) for kind in kinds)


def resources_of(profile: WorkerProfile) -> dict[str, float]:
    """Return what Ray reserves for one worker: CPUs, GPUs, and without GPUs its byte budget.

    The budget of a worker that has a GPU is memory of the GPU, which Ray does not count.
    """
    if profile.gpus:
        return {"CPU": profile.cpus, "GPU": profile.gpus}
    memory = {} if profile.memory is None else {"memory": float(profile.memory)}
    return {"CPU": profile.cpus, **memory}


def actor_options(resources: Resources) -> dict[str, Any]:
    """Return the options of an actor that has these resources; Ray does not restart it."""
    memory = {"memory": int(resources["memory"])} if "memory" in resources else {}
    return {
        "num_cpus": resources["CPU"],
        "num_gpus": resources.get("GPU", 0.0),
        **memory,
        "max_restarts": 0,
        "max_task_retries": 0,
    }


def check_profile(profile: WorkerProfile, nodes: Sequence[Resources], where: str) -> int:
    """Return how many actors of `profile` fit on `nodes` at once, with the shards of each.

    At most as many as the profile has; Ray keeps the others pending. Ray knows no memory of GPUs:
    whether a byte budget fits a GPU shows when a worker starts.

    Raises:
        InvalidInput: not even one fits, which Ray would queue for ever.
    """
    shards, each = profile.shards or 1, resources_of(profile)
    room = sum(workers_on(node, each) for node in nodes)
    if room >= shards:
        return min(profile.actors, room // shards)
    lacking = {
        kind: shards * number - sum(node.get(kind, 0.0) for node in nodes)
        for kind, number in each.items()
    }
    missing = "; ".join(
        f"{_amount(number, kind)} {'is' if number == 1 or kind == 'memory' else 'are'} missing"
        for kind, number in lacking.items()
        if number > _ROUNDING
    )
    why = missing or "there is enough in all, but not in the right places"
    asked = "cpus, gpus and memory" if "memory" in each else "cpus and gpus"
    raise InvalidInput(
        f"has no room for {_counted(shards, 'worker')} with {describe_resources(each)}"
        f"{' each' if shards > 1 else ''}: {why}",
        where=where,
        field="shards" if room else "actors",
        allowed=f"{room} on {_described(nodes)}",
        fix=f"set shards: {room} in the worker profile, or add nodes"
        if room
        else f"ask for less in {asked} of the worker profile, or add nodes",
    )


def describe_room(fitting: int, profile: WorkerProfile) -> str:
    """Return the line that says that the cluster has room for only some actors of a profile."""
    of_shards = f" of {profile.shards} workers each" if (profile.shards or 1) > 1 else ""
    return (
        f"room for {fitting} of {_counted(profile.actors, 'actor')}{of_shards}, with "
        f"{describe_resources(resources_of(profile))}: the others start when there is more"
    )


def describe_resources(each: Resources) -> str:
    """Return the resources of a worker, as in `2 CPUs and 1 GPU` or `1 CPU and 2 GiB of memory`."""
    return " and ".join(_amount(number, kind) for kind, number in each.items())


def check_device(profile: WorkerProfile, device: str) -> None:
    """Raise InvalidInput if runs should use GPUs that the profile does not request."""
    named = len(device_indices(device))
    if named > 1 and profile.gpus < named:
        raise InvalidInput(
            f"device '{device}' names {named} GPUs, and the worker profile requests "
            f"{profile.gpus:g} for each worker",
            field="gpus",
            fix=f"set gpus: {named} in the worker profile",
        )
    if device.startswith("cuda") and not profile.gpus:
        raise InvalidInput(
            f"device '{device}' needs a GPU, and the worker profile requests none",
            field="gpus",
            fix="set gpus: 1 in the worker profile, or use --device auto",
        )


def workers_on(node: Resources, each: Resources) -> int:
    """Return how many workers with the resources of `each` fit on a node."""
    room = math.floor(node.get("CPU", 0.0) / each["CPU"] + _ROUNDING)
    if "memory" in each and "memory" in node:
        room = min(room, math.floor(node["memory"] / each["memory"]))
    if gpus := each.get("GPU", 0.0):
        available = node.get("GPU", 0.0)
        # A fraction of a GPU is part of a single GPU: two workers of 0.6 need two.
        per_gpu = math.floor(1 / gpus + _ROUNDING)
        fitting = math.floor(available) * per_gpu if gpus < 1 else math.floor(available / gpus)
        room = min(room, fitting)
    return room


def _start_ray(wanted: str) -> None:
    # Always with an address: without one, init() connects to the last cluster of this machine, even
    # if that is gone.
    try:
        ray.init(
            address=wanted,
            include_dashboard=False if wanted == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ExecutionFailed(
            f"no connection to the Ray cluster: {lines[0] if lines else type(error).__name__}",
            where=wanted,
            fix="look at it with 'ray status'; for one that requires a token, export "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH",
        ) from error


def _check_reachable(address: str) -> None:
    """Raise InvalidInput or ExecutionFailed unless a process listens at `host:port`."""
    if "://" in address:
        raise InvalidInput(
            f"'{address}' is not where workers are started from",
            field="--address",
            allowed=_ADDRESS_FORMS,
            fix="send the sweep there as a job: acdc submit SWEEP --address http://HOST:8265",
        )
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidInput(f"'{address}' is no address", field="--address", allowed=_ADDRESS_FORMS)
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECTION_TIMEOUT).close()
    except OSError as error:
        raise ExecutionFailed(
            f"nothing answers: {error.strerror or error}",
            where=address,
            fix="name the head node's address as 'ray start --head' prints it, port 6379 unless "
            "chosen",
        ) from error


@contextmanager
def _quiet_ray() -> Iterator[None]:
    """Suppress the thirty lines that Ray prints on stdout for every process that dies.

    The driver reports lost workers itself; the details are in the logs of the nodes.
    """
    before = stdout_deduplicator.skip_re
    stdout_deduplicator.skip_re = re.compile("")
    try:
        yield
    finally:
        stdout_deduplicator.skip_re = before


@contextmanager
def _restored_sigterm_handler() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _described(nodes: Sequence[Resources]) -> str:
    kinds = Counter((node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes)
    return "; ".join(
        f"{_counted(count, 'node')} with {_counted(cpus, 'CPU')} and {_counted(gpus, 'GPU')}"
        for (cpus, gpus), count in kinds.items()
    )


def _amount(number: float, kind: str) -> str:
    return f"{amount_of(int(number))} of memory" if kind == "memory" else _counted(number, kind)


def _counted(number: int | float, noun: str) -> str:
    return f"{number:g} {noun}" + ("" if number == 1 else "s")
