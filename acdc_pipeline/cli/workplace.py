"""On what a sweep executes: the command line over the environment over `acdc.yaml` over the
worker profile.
"""

from __future__ import annotations

from typing import Annotated

import typer

from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.workflows.executors import (
    ExecutionSettings,
    check_executor,
    execution_settings,
)

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


def workplace(context: typer.Context) -> ExecutionSettings:
    """What the options of this command ask for.

    Raises:
        UnknownName: no such worker profile.
        SpecError: the profile has a problem; what was given is no amount of memory.
        InvalidInput: no such executor, or no number of threads.
    """
    memory, threads = shared.read_memory(context), shared.read_threads(context)
    return execution_settings(
        context.params["profile"],
        executor=executor_named(context),
        device=context.params["device"],
        memory=memory,
        threads=threads,
    )


def executor_named(context: typer.Context) -> str | None:
    """The executor that was asked for, None for the profile's. Raises InvalidInput."""

    name = context.params["executor"]
    return None if name is None else check_executor(name, shared.option_source(context, "executor"))
