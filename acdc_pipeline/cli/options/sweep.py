"""Options of the commands that plan or execute a sweep, and the settings they add up to.

The command line comes before the environment, that before `acdc.yaml`, that before the worker
profile.
"""

from __future__ import annotations

from typing import Annotated

import typer

from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.workflows.executors import (
    ExecutionSettings,
    check_executor,
    execution_settings,
)

SweepName = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP",
        autocompletion=completion.sweeps,
        help="The name of a sweep, or its .yaml file.",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Only the I-th of N parts. The parts are of equal size and together exactly the "
        "sweep; runs of one task on one model stay together where possible.",
    ),
]
Lease = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time without a sign of this process after which other drivers take over its run, "
        "as in 60s. On one machine they see at once that it ended. Default: 60s.",
    ),
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch", help="When all is done, read the sweep again and wait for more, until Ctrl-C."
    ),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Retry runs that failed before.")]
ProfileName = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME|PATH",
        autocompletion=completion.profiles,
        envvar="ACDC_PROFILE",
        show_envvar=False,
        help="Worker profile: the workers and hardware to execute on.",
    ),
]
ExecutorName = Annotated[
    str | None,
    typer.Option(
        "--executor",
        **completion.choice("local|ray"),
        envvar="ACDC_EXECUTOR",
        show_envvar=False,
        help="Execute in this process, or on Ray actors. Default: the profile's executor.",
    ),
]
SweepDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        **completion.choice(shared.DEVICES),
        envvar="ACDC_DEVICE",
        show_envvar=False,
        help="Where to compute. Default: on a GPU if the profile's gpus is above 0.",
    ),
]


def read_settings(context: typer.Context) -> ExecutionSettings:
    """Return the worker profile with the options that override it. Raises InvalidInput."""
    memory, threads = shared.read_memory(context), shared.read_threads(context)
    return execution_settings(
        context.params["profile"],
        executor=read_executor(context),
        device=context.params["device"],
        memory=memory,
        threads=threads,
        shards=context.params.get("shards"),
        lease=_read_lease(context.params.get("lease")),
    )


def _read_lease(text: str | None) -> float | None:
    if text is None:
        return None
    from acdc_pipeline.specs.profile import seconds_of
    from acdc_pipeline.store.claims import LEAST_LEASE

    try:
        seconds = seconds_of(text)
    except InvalidInput as error:
        error.field = "--lease"
        raise
    if seconds < LEAST_LEASE:
        raise InvalidInput(f"{text} is too short", field="--lease", allowed="at least 1s")
    return seconds


def read_executor(context: typer.Context) -> str | None:
    """Return the executor given by an option; None for the profile's. Raises InvalidInput."""
    name = context.params["executor"]
    return None if name is None else check_executor(name, shared.option_source(context, "executor"))
