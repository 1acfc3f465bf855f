"""What Ray says when a call did not come back, sorted: a death, or an error of the program."""

from __future__ import annotations

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


def says_why(error: Exception) -> str:
    """The death in one line: Ray's report without its identifiers."""
    if getattr(error, "preempted", False):
        return "its node was preempted"
    if isinstance(error, ObjectLostError):
        return "its answer was lost with the node that held it"
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(_IDENTIFIERS)]
    # The first line says that an actor died, the last ones why.
    return (told[-1] if told else type(error).__name__).rstrip(".")


_IDENTIFIERS = ("class_name:", "actor_id:", "pid:", "name:", "namespace:", "ip:")


def why_not_ready(error: RayTaskError) -> AcdcError:
    """The error that a worker met while it started: its own if that was raised on purpose."""
    cause = error.cause
    if isinstance(cause, AcdcError):
        return cause
    told = str(cause).strip().splitlines() or ["no message"]
    failure = ExecutionFailed(
        f"a worker cannot start: {type(cause).__name__}: {told[0]}",
        fix="look at the nodes: is the same version of everything installed there?",
    )
    failure.__cause__ = error
    return failure
