"""What nodes a cluster has, whether it may start more, and which it is about to lose."""

from __future__ import annotations

import json
from typing import Any

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.state import state as cluster_state
from ray.experimental.internal_kv import _internal_kv_get

from acdc_pipeline.execution.ray.preflight import Resources

# Set on nodes by `ray up` and KubeRay; a node that somebody started by hand has none.
_GROUP_LABEL = "ray.io/node-group"

# What Ray's monitor calls the type of a node that it only watches.
_ONLY_WATCHED = "node_"


def present_nodes() -> list[Resources]:
    """The resources of every node that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def draining_nodes() -> frozenset[str]:
    """Ids of nodes that are being drained or preempted: what runs there should end there."""
    return frozenset(cluster_state.get_draining_nodes())


def may_grow() -> bool:
    """Whether an autoscaler looks after the cluster. How far it goes, Ray does not tell."""
    labelled = any(_GROUP_LABEL in (node.get("Labels") or {}) for node in ray.nodes())
    return labelled or is_autoscaled(_internal_kv_get(DEBUG_AUTOSCALING_STATUS))


def is_autoscaled(status: bytes | None) -> bool:
    """Whether the status that Ray's monitor left tells of nodes that it started itself."""
    if not status:
        return False
    document: dict[str, Any] = json.loads(status)
    active = (document.get("autoscaler_report") or {}).get("active_nodes") or {}
    return any(not kind.startswith(_ONLY_WATCHED) for kind in active)
