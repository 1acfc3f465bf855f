"""Errors of Ray calls, sorted into lost workers and errors of the program, with short messages."""

from __future__ import annotations

import re

from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    RuntimeEnvSetupError,
    WorkerCrashedError,
)

from acdc_pipeline.errors import AcdcError, ExecutionFailed

WORKER_LOST = (RayActorError, WorkerCrashedError, ObjectLostError, NodeDiedError, OutOfMemoryError)
"""The process or its node is gone or unreachable: another worker can do its work."""

NEVER_STARTS = (RuntimeEnvSetupError, ActorUnschedulableError)
"""The process cannot start, and another one like it could not start either."""

# How Ray reports a process that ended: kind, detail, and advice of several lines.
_PROCESS_ENDED = re.compile(
    r"Worker exit type: (\w+) Worker exit detail: (.*?)(?:\.? Some common causes|\Z)", re.DOTALL
)

# Beginnings of lines in a report of Ray that contain only identifiers.
_IDENTIFIERS = ("class_name:", "actor_id:", "pid:", "name:", "namespace:", "ip:", "Node Id:")


def describe_failure(error: Exception) -> str:
    """Return an error of Ray in one line, without its identifiers and its advice."""
    if getattr(error, "preempted", False):
        return "its node was preempted"
    if isinstance(error, ObjectLostError):
        return "its answer was lost with the node that held it"
    if ended := _PROCESS_ENDED.search(str(error)):
        kind, detail = ended[1], " ".join(ended[2].split())
        if kind == "SYSTEM_ERROR" and "End of file" in detail:
            return "its process was killed (out of memory?) or crashed"
        return f"its process ended: {detail.rstrip('.')}"
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_IDENTIFIERS)]
    # The first line reports that an actor died, the last one the reason.
    reason = lines[-1] if lines else type(error).__name__
    return reason.rstrip(".").replace("the actor's node", "its node")


def start_error(error: RayTaskError) -> AcdcError:
    """Return the error that a worker raised while it started, unchanged if it is an AcdcError."""
    cause = error.cause
    if isinstance(cause, AcdcError):
        return cause
    lines = str(cause).strip().splitlines() or ["no message"]
    failure = cannot_start(f"{type(cause).__name__}: {lines[0]}")
    failure.__cause__ = error
    return failure


def cannot_start(reason: str) -> ExecutionFailed:
    """Return the error for a worker that would not start the next time either."""
    return ExecutionFailed(
        f"a worker cannot start: {reason}",
        fix="every node needs this version of acdc-pipeline: from the image of deploy/docker, or "
        "under runtime_env: pip of the worker profile",
    )
