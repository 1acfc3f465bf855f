"""What Ray says when a call did not come back, sorted: a death, or an error of the program."""

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

DEATHS = (RayActorError, WorkerCrashedError, ObjectLostError, NodeDiedError, OutOfMemoryError)
"""The process or its node is gone, or out of reach: somebody else can do what it was doing."""

NEVER_STARTS = (RuntimeEnvSetupError, ActorUnschedulableError)
"""A process like this one will not start next time either."""


# How Ray reports a process that ended: a kind, its own words, and advice of several lines.
_PROCESS_ENDED = re.compile(
    r"Worker exit type: (\w+) Worker exit detail: (.*?)(?:\.? Some common causes|\Z)", re.DOTALL
)

# Lines of Ray's report that only name things by long numbers.
_IDENTIFIERS = ("class_name:", "actor_id:", "pid:", "name:", "namespace:", "ip:", "Node Id:")


def says_why(error: Exception) -> str:
    """The death in one line: Ray's report without its identifiers and its advice."""
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
    told = [line for line in lines if line and not line.startswith(_IDENTIFIERS)]
    # The first line says that an actor died, the last one why.
    reason = told[-1] if told else type(error).__name__
    return reason.rstrip(".").replace("the actor's node", "its node")


def why_not_ready(error: RayTaskError) -> AcdcError:
    """The error that a worker met while it started: its own if that was raised on purpose."""
    cause = error.cause
    if isinstance(cause, AcdcError):
        return cause
    told = str(cause).strip().splitlines() or ["no message"]
    failure = cannot_start(f"{type(cause).__name__}: {told[0]}")
    failure.__cause__ = error
    return failure


def cannot_start(reason: str) -> ExecutionFailed:
    """The error for a worker that would not start the next time either."""
    return ExecutionFailed(
        f"a worker cannot start: {reason}",
        fix="every node needs this version of acdc-pipeline: from the image of deploy/docker, or "
        "under runtime_env: pip of the worker profile",
    )
