"""On what a sweep executes: the command line over the environment over `acdc.yaml` over the
worker profile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.terminal.output import note
from acdc_pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from acdc_pipeline.execution.executor import Executor
    from acdc_pipeline.specs import WorkerProfile

DEFAULT_PROFILE = "laptop"

ProfileName = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME|PATH",
        autocompletion=completion.profiles,
        envvar="ACDC_PROFILE",
        show_envvar=False,
        help="Worker profile: on what it executes.",
    ),
]
ExecutorName = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="local|ray",
        autocompletion=completion.one_of("local|ray"),
        envvar="ACDC_EXECUTOR",
        show_envvar=False,
        help="In this process, or on Ray actors. Default: what the profile says.",
    ),
]
SweepDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar=shared.DEVICES,
        autocompletion=completion.one_of(shared.DEVICES),
        envvar="ACDC_DEVICE",
        show_envvar=False,
        help="Where to compute. Default: on a GPU if the profile has gpus above 0.",
    ),
]


@dataclass(frozen=True)
class Workplace:
    """What a sweep executes on.

    Args:
        name: of the worker profile.
        profile: the profile, with the executor that was asked for.
        device: as `--device` takes it; None for what the profile says.
        memory: byte budget of a search; None for half of what is free.
        threads: of torch in this process; None for the profile's CPUs.
    """

    name: str
    profile: WorkerProfile
    device: str | None
    memory: int | None
    threads: int | None


def workplace(context: typer.Context) -> Workplace:
    """What the options of this command ask for.

    Raises:
        UnknownName: no such worker profile.
        SpecError: the profile has a problem; what was given is no amount of memory.
        InvalidInput: no such executor, or no number of threads.
    """
    memory, threads = shared.memory_of(context), shared.threads_of(context)
    return place_of(
        context.params["profile"],
        executor=executor_named(context),
        device=context.params["device"],
        memory=memory,
        threads=threads,
    )


def executor_named(context: typer.Context) -> str | None:
    """The executor that was asked for, None for the profile's. Raises InvalidInput."""

    name = context.params["executor"]
    return None if name is None else known_executor(name, shared.source_of(context, "executor"))


def known_executor(name: str, source: str) -> str:
    """`name`, if it is an executor. Raises InvalidInput, which names where it came from."""
    from acdc_pipeline.specs.names import Executor

    if name not in get_args(Executor):
        raise InvalidInput(
            f"'{name}' is not an executor", field=source, allowed=", ".join(get_args(Executor))
        )
    return name


def place_of(
    profile: str,
    *,
    executor: str | None = None,
    device: str | None = None,
    memory: int | None = None,
    threads: int | None = None,
) -> Workplace:
    """The worker profile `profile`, but for what is not None. Raises UnknownName or SpecError."""
    from acdc_pipeline.specs import find_profile

    found = find_profile(profile)
    if executor is not None:
        found = found.model_copy(update={"executor": executor})
    return Workplace(profile, found, device, found.memory if memory is None else memory, threads)


def executor_at(place: Workplace) -> Executor:
    """The executor that works there. Imports Ray only where it is needed."""
    if place.profile.executor == "ray":
        from acdc_pipeline.execution.ray import RayExecutor

        return RayExecutor(place.profile, device=place.device or "auto", memory=place.memory)
    from acdc_pipeline.execution.local_executor import LocalExecutor
    from acdc_pipeline.execution.worker import Worker

    shared.use_threads(place.threads or _threads_of(place.profile))
    device = place.device or _device_of(place)
    return LocalExecutor(
        lambda: Worker(device=device, memory=place.memory), place.profile.checkpoint
    )


def _device_of(place: Workplace) -> str:
    """The profile's device; says so where that leaves a GPU idle."""
    import torch

    if place.profile.gpus > 0:
        return "auto"
    if torch.cuda.is_available():
        note(
            f"note: the GPU of this machine stays idle: profile '{place.name}' has no gpus "
            "(--device cuda uses it)"
        )
    return "cpu"


def _threads_of(profile: WorkerProfile) -> int:
    """The profile's CPUs, but no more than torch takes by itself on this machine."""
    import torch

    return min(torch.get_num_threads(), math.ceil(profile.cpus_each))
