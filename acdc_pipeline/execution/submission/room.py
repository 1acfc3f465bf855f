"""Whether a cluster has room for the workers of a profile, before a job is sent. Imports ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.ray.capacity import describe_workers, origin_of, workers_for
from acdc_pipeline.execution.ray.cluster import (
    GROUP_LABEL,
    UNMANAGED_NODE,
    Resources,
    check_profile,
    describe_room,
)
from acdc_pipeline.execution.submission.cluster import TIMEOUTS, Cluster
from acdc_pipeline.specs import WorkerProfile

_NODES = "/api/v0/nodes"
_STATUS = "/api/cluster_status"

_TRIES, _PAUSE = 10, 0.5


@dataclass(frozen=True)
class Nodes:
    """The nodes of a cluster.

    Args:
        resources: those of every living node.
        grows: whether an autoscaler may add nodes; how many, the dashboard does not say.
    """

    resources: tuple[Resources, ...]
    grows: bool


def find_nodes(cluster: Cluster) -> Nodes | None:
    """Return the nodes as the dashboard lists them; None if it does not, as older ones.

    A dashboard that has just started lists none for a second; the request is then repeated.
    """
    for _ in range(_TRIES):
        nodes = _listed_nodes(cluster)
        if nodes is None or nodes.resources:
            return nodes
        time.sleep(_PAUSE)
    return None


def check_room(cluster: Cluster, profile: WorkerProfile, note: Callable[[str], None]) -> None:
    """Check that the workers of `profile` fit on `cluster`, and note what will work there.

    Where an autoscaler may add nodes, or the dashboard does not list them, nothing is refused: the
    driver knows more.

    Raises:
        InvalidInput: not even one worker fits, and the cluster does not grow.
    """
    nodes = find_nodes(cluster)
    if nodes is None:
        note("the dashboard does not list its nodes: the job itself checks whether the workers fit")
        return
    where = cluster.address.url
    try:
        chosen = workers_for(profile, nodes.resources, where, grows=nodes.grows)
        if chosen is not profile:
            note(f"{describe_workers(chosen)}: {origin_of(chosen, nodes.resources)}")
            return
        fitting = check_profile(chosen, nodes.resources, where)
    except InvalidInput as error:
        if not nodes.grows:
            raise
        note(f"the cluster {error.problem}; the job requests more nodes from its autoscaler")
        return
    if fitting < chosen.actors:
        note(describe_room(fitting, chosen))


def _listed_nodes(cluster: Cluster) -> Nodes | None:
    listed = _get(cluster, _NODES)
    try:
        alive = [n for n in listed["data"]["result"]["result"] if n["state"] == "ALIVE"]
        resources = tuple(
            {kind: float(amount) for kind, amount in node["resources_total"].items()}
            for node in alive
        )
        labelled = any(GROUP_LABEL in (node.get("labels") or {}) for node in alive)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return Nodes(resources, labelled or _is_autoscaled(cluster))


def _is_autoscaled(cluster: Cluster) -> bool:
    """Return whether Ray's monitor reports nodes that it started itself."""
    status = _get(cluster, _STATUS)
    try:
        # Not its activeNodes: their types are keys, which the dashboard writes in another way.
        kinds = status["data"]["clusterStatus"]["autoscalerReport"]["nodeTypeMapping"].values()
    except (KeyError, TypeError, AttributeError):
        return False
    return any(not str(kind).startswith(UNMANAGED_NODE) for kind in kinds)


def _get(cluster: Cluster, path: str) -> Mapping[str, Any]:
    """Return an answer of the dashboard; an empty one if it has none."""
    try:
        response = requests.get(
            cluster.address.url + path, headers=dict(cluster.headers), timeout=TIMEOUTS
        )
        found = response.json() if response.ok else {}
    except (requests.exceptions.RequestException, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
