"""Ray's long reports of a death, in one line."""

from __future__ import annotations

import pytest
from ray.exceptions import (
    ActorUnavailableError,
    OutOfMemoryError,
    OwnerDiedError,
    RayActorError,
    RayTaskError,
)

from acdc_pipeline.errors import ExecutionFailed, PromptError
from acdc_pipeline.execution.ray.failures import WORKER_LOST, describe_failure, start_error

# What Ray 2.60 says.
KILLED = """The actor died unexpectedly before finishing this task.
\tclass_name: RunActor
\tactor_id: 1f373afa455931d799df473101000000
\tpid: 31212
\tnamespace: 92c4818b-dab6-4b1f-b35e-750931c043e4
\tip: 10.0.0.1
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit \
detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common causes \
include: (1) the process was killed by the OOM killer due to high memory usage, (2) others."""
STOPPED = """The actor died unexpectedly before finishing this task.
The actor is dead because its worker process has died. Worker exit type: USER_ERROR Worker exit \
detail: Worker exits with an exit code 7."""
NODE = """The actor died unexpectedly before finishing this task.
\tclass_name: RunActor
The actor died because its node has died. Node Id: 982db2bf71e4cba5481b9732c699d3aa2af793f3f5f0
\tthe actor's node was terminated unexpectedly: health check failed"""


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (KILLED, "its process was killed (out of memory?) or crashed"),
        (STOPPED, "its process ended: Worker exits with an exit code 7"),
        (NODE, "its node was terminated unexpectedly: health check failed"),
        ("", "RayActorError"),
    ],
)
def test_describe_failure_of_a_dead_actor(report: str, says: str):
    assert describe_failure(RayActorError(error_msg=report)) == says


def test_describe_failure_of_a_preempted_node():
    assert (
        describe_failure(RayActorError(error_msg=NODE, preempted=True)) == "its node was preempted"
    )


def test_describe_failure_of_a_process_that_ray_killed_for_its_memory():
    assert describe_failure(OutOfMemoryError("Task was killed: memory is low.\n")) == (
        "Task was killed: memory is low"
    )


@pytest.mark.parametrize(
    "error",
    [
        RayActorError(),
        ActorUnavailableError("no answer", None),
        OutOfMemoryError("low"),
        OwnerDiedError("00", b"", ""),
    ],
)
def test_worker_lost_holds_what_another_worker_could_do(error: Exception):
    assert isinstance(error, WORKER_LOST)
    assert "\n" not in describe_failure(error)


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("ready", "a traceback", cause)


def test_start_error_is_the_error_that_was_raised_on_purpose():
    cause = PromptError("a problem", where="here")
    assert start_error(task_error(cause)) is cause


def test_start_error_names_an_error_that_nobody_foresaw():
    error = start_error(task_error(ModuleNotFoundError("No module named 'x'\nmore")))
    assert type(error) is ExecutionFailed
    assert error.problem == "a worker cannot start: ModuleNotFoundError: No module named 'x'"
    assert "runtime_env" in str(error.fix)
