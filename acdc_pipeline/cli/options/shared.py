"""Options that several commands take, each with one meaning."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.options import completion
from acdc_pipeline.cli.options.numbers import MOST_THREADS, whole
from acdc_pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from acdc_pipeline.store import Store

# Written out, since asking the specs for them would load them for every `--help`.
METRICS = "kl|logit_diff|prob_diff|nll|match_nll|accuracy|forced_choice"
ABLATIONS = "corrupted|zero|mean"
DTYPES = "float32|float64|bfloat16|float16"

DEVICES = "auto|cpu|cuda[:N]|mps"

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="ACDC_STORE",
        show_envvar=False,
        help="Where runs are kept: a folder or any URL that fsspec opens. Default: ACDC_STORE, "
        "else results/runs of the project folder, else ./acdc-results.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Put one JSON document on stdout, and nothing else there.")
]
Device = Annotated[
    str,
    typer.Option(
        metavar=DEVICES,
        autocompletion=completion.one_of(DEVICES),
        envvar="ACDC_DEVICE",
        show_envvar=False,
        help="Where to compute. It is no part of a run's identity.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        envvar="ACDC_MEMORY",
        show_envvar=False,
        help="Byte budget of the search, as in 4GiB. Default: half of what is free.",
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        envvar="ACDC_THREADS",
        show_envvar=False,
        help="CPU threads of torch. On a machine that others use too, 1 is often the fastest. "
        "Default: torch's own choice.",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar=DTYPES,
        autocompletion=completion.one_of(DTYPES),
        help="Precision of the model's weights; arithmetic is never below float32.",
    ),
]
TaskName = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        autocompletion=completion.tasks,
        help="A task's name, a task folder, or a .jsonl of prompt pairs.",
    ),
]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        autocompletion=completion.models,
        help="zoo:NAME, hf:ORG/NAME[@REVISION], dir:PATH or gguf:FILE.",
    ),
]
RunPrefix = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.runs,
        help="A run id, or the first digits of one.",
    ),
]
OfTask = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="TASK", autocompletion=completion.tasks, help="Only runs of this task."
    ),
]
OfModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        autocompletion=completion.models,
        help="Only runs in this model.",
    ),
]


def memory_of(context: typer.Context) -> int | None:
    """The byte budget that was asked for; None if none was. Raises SpecError."""
    from acdc_pipeline.specs.profile import bytes_of

    text = context.params["memory"]
    try:
        return None if text is None else bytes_of(text)
    except InvalidInput as error:
        error.field = source_of(context, "memory")
        raise


def threads_of(context: typer.Context) -> int | None:
    """How many threads were asked for; None if nobody asked. Raises InvalidInput."""
    text = context.params["threads"]
    return None if text is None else whole(source_of(context, "threads"), 1, MOST_THREADS)(text)


def source_of(context: typer.Context, name: str) -> str:
    """Where an option got its value: `--threads`, `ACDC_THREADS`, `acdc.yaml: threads`."""
    source = context.get_parameter_source(name)
    return {
        "ENVIRONMENT": f"ACDC_{name.upper()}",
        "DEFAULT_MAP": f"acdc.yaml: {name}",
    }.get("" if source is None else source.name, f"--{name}")


def use_threads(count: int | None) -> None:
    """Makes torch compute with `count` threads from now on; None leaves it alone."""
    if count is not None:
        import torch

        torch.set_num_threads(count)


def same_store(context: typer.Context) -> str:
    """What a command that is suggested needs behind it to look into the store of this one.

    Empty unless `--store` was typed: environment and `acdc.yaml` hold for the next command too.
    """
    source = context.get_parameter_source("store")
    if source is None or source.name != "COMMANDLINE":
        return ""
    return f" --store {shlex.quote(context.params['store'])}"


def store_for_reading(url: str | None) -> Store:
    """The store, which has to exist. Raises StoreError."""
    from acdc_pipeline.store import open_store

    return open_store(url)
