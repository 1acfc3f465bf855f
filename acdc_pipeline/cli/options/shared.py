"""Options that several commands share, and what commands read from their context."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.options import completion
from acdc_pipeline.cli.options.parsers import MAX_PROMPTS, MAX_SEED, integer, number, parse_integer
from acdc_pipeline.cli.terminal.index_notes import IndexNotes
from acdc_pipeline.cli.terminal.output import print_note
from acdc_pipeline.cli.terminal.text import relative_path
from acdc_pipeline.errors import InvalidInput, StoreError
from acdc_pipeline.workflows.executors import MAX_THREADS
from acdc_pipeline.workflows.shards import MAX_SHARDS

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.store import RunRecord, Store

# Literals, since importing the specs would slow down every `--help`.
ABLATIONS = "corrupted|zero|mean"
DTYPES = "float32|float64|bfloat16|float16"

DEVICES = "auto|cpu|cuda[:N]|mps"

MODEL_HELP = "zoo:NAME, hf:ORG/NAME[@REVISION], dir:PATH or gguf:FILE; hf: may be left out."


def _full_model_name(text: str | None) -> str | None:
    if text is None:
        return None
    from acdc_pipeline.specs.model_ref import full_name

    return full_name(text)


StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="ACDC_STORE",
        show_envvar=False,
        help="Where runs are stored: a folder or any URL that fsspec opens. Default: ACDC_STORE, "
        "else results/runs of the project folder, else ./acdc-results.",
    ),
]
MibData = Annotated[
    Path | None,
    typer.Option(
        "--mib-data",
        metavar="DIR",
        help="Folder with a folder for each data set of huggingface.co/mib-bench. Default: the "
        "hub, or its cache.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")
]
Device = Annotated[
    str,
    typer.Option(
        **completion.choice(DEVICES),
        envvar="ACDC_DEVICE",
        show_envvar=False,
        help="Where to compute; with cuda:0-3 or cuda:0,2, layers are laid over several GPUs. It "
        "does not change the run id.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        envvar="ACDC_MEMORY",
        show_envvar=False,
        help="Memory budget of the search, as in 4GiB; larger models are read layer by layer. "
        "Default: half of the free memory.",
    ),
]
METHOD_HELP = (
    "How to find the circuit; to begin with, acdc on small models and eap-ig-inputs on large ones. "
    "Searches: acdc (tests edge by edge), eap-ig-acdc (acdc on the best of eap-ig-inputs). "
    "Gradients: eap (first order), relp (relevance), atp-star (attention patterns exact), "
    "eap-ig-inputs (integrated over inputs), eap-ig-activations (over activations), "
    "clean-corrupted (mean of both ends), conductance (flow along the path), "
    "node-attribution and hisp (nodes). "
    "Measured: exact (each edge removed alone), node-exact (each node), "
    "eap-exact (whole circuits, within a budget). "
    "Trained gates: edge-pruning, eap-ig-edge-pruning (begins at eap-ig-inputs), "
    "subnetwork-probing (nodes), node-pruning (nodes and neurons). "
    "Ensembles: ensemble (eap and both eap-ig), hybrid-ensemble (and trained gates). "
    "Null: random. docs/methods.md has formulas and costs."
)
"""Help of `--method`: every method with a few words."""
Budget = Annotated[
    float | None,
    typer.Option(
        **number("--budget"),
        help="For {owners}: the most that may be spent, in forwards, of which a backward is "
        "two; one that does not pay for the first round is refused with the least that does. "
        "Default: what eap-ig-activations costs.",
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        **number("--learning-rate"),
        help="For {owners}: learning rate of the optimiser. Default: {default}.",
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        envvar="ACDC_THREADS",
        show_envvar=False,
        help="CPU threads of torch. On a shared machine 1 is often fastest. "
        "Default: torch's own choice.",
    ),
]
Shards = Annotated[
    int | None,
    typer.Option(
        **integer("--shards", 1, MAX_SHARDS),
        help="Spread the prompts of each run over N workers, in groups of 8: processes of one "
        "thread each, or one GPU each. Every N gives the same result.",
    ),
]
Helpers = Annotated[
    int | None,
    typer.Option(
        **integer("--shards", 1, MAX_SHARDS),
        help="Let N other workers measure: processes of one thread each, or one GPU each. Every N "
        "gives the same result.",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        **completion.choice(DTYPES),
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
    str, typer.Argument(metavar="MODEL", autocompletion=completion.models, help=MODEL_HELP)
]
RunPrefix = Annotated[
    str,
    typer.Argument(
        metavar="RUN", autocompletion=completion.runs, help="A run id, or the first digits of one."
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
        callback=_full_model_name,
        help="Only runs on this model.",
    ),
]


Force = Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")]
Seed = Annotated[
    int, typer.Option(**integer("--seed", 0, MAX_SEED), help="Seed of all random choices.")
]
PromptSeed = Annotated[
    int, typer.Option("--seed", **integer("--seed", 0, MAX_SEED), help="Seed of the prompts.")
]
PromptCount = Annotated[
    int,
    typer.Option(
        "--prompts", **integer("--prompts", 1, MAX_PROMPTS), help="Number of prompt pairs."
    ),
]


def read_memory(context: typer.Context) -> int | None:
    """Return the byte budget given by `--memory`; None if there is none. Raises SpecError."""
    text, option = context.params["memory"], option_source(context, "memory")
    return None if text is None else read_size(text, option)


def read_size(text: str, option: str) -> int:
    """Return an amount of memory in bytes. Raises SpecError, which names `option`."""
    from acdc_pipeline.specs.profile import LEAST_MEMORY, bytes_of

    try:
        size = bytes_of(text)
    except InvalidInput as error:
        error.field = option
        raise
    if size < LEAST_MEMORY:
        raise InvalidInput(f"{text} is too small", field=option, allowed="at least 1KiB")
    return size


def read_method(context: typer.Context) -> str:
    """Return the method given by `--method`; without `--json`, note what an alias means."""
    from acdc_pipeline.specs import method_name

    given = context.params["method"]
    name = method_name(given)
    if name != given and not context.params["json"]:
        note_alias(given, name)
    return name


def note_alias(alias: str, name: str) -> None:
    """Print on stderr which method an alias means."""
    print_note(f"note: method '{alias}' is '{name}'")


def read_threads(context: typer.Context) -> int | None:
    """Return the number of threads given by `--threads`; None if there is none."""
    text = context.params["threads"]
    if text is None:
        return None
    option = option_source(context, "threads")
    return parse_integer(text, option=option, least=1, most=MAX_THREADS)


def option_name(parameter: str) -> str:
    """Return the option that sets a parameter, such as `--learning-rate` for `learning_rate`."""
    return "--" + parameter.replace("_", "-")


@contextmanager
def naming_options(*parameters: str) -> Iterator[None]:
    """Name the option in errors about one of `parameters`, and shorten absolute paths in errors."""
    try:
        yield
    except InvalidInput as error:
        if error.field in parameters:
            error.field = option_name(error.field)
        if error.where is not None and Path(error.where).is_absolute():
            error.where = relative_path(error.where)
        raise


def option_source(context: typer.Context, name: str) -> str:
    """Name the source of an option's value: `--threads`, `ACDC_THREADS`, `acdc.yaml: threads`."""
    source = context.get_parameter_source(name)
    return {
        "ENVIRONMENT": f"ACDC_{name.upper()}",
        "DEFAULT_MAP": f"acdc.yaml: {name}",
    }.get("" if source is None else source.name, f"--{name}")


def is_typed(context: typer.Context, name: str) -> bool:
    """Return whether a parameter's value comes from the command line itself."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def repeat_option(context: typer.Context, name: str) -> str:
    """Return ` --store URL` for a suggested command, if `--store` was typed; else nothing.

    Environment and `acdc.yaml` hold for the next command too.
    """
    if not is_typed(context, name):
        return ""
    return f" --{name} {shlex.quote(str(context.params[name]))}"


def repeat_command(context: typer.Context, *, without: tuple[str, ...] = ()) -> str:
    """Return the command that was typed, such as `acdc run demo`, without some parameters."""
    words = context.command_path.split()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in without or not is_typed(context, name):
            continue
        value = context.params[name]
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif isinstance(value, bool):
            words += [parameter.opts[0]] if value else []
        else:
            values = value if isinstance(value, (list, tuple)) else [value]
            words += [word for one in values for word in (parameter.opts[0], str(one))]
    return shlex.join(words)


def find_circuit(results: Store, prefix: str) -> tuple[RunRecord, Circuit]:
    """Return the run whose id begins with `prefix`, and its circuit. Raises InvalidInput."""
    record = results.get(results.resolve(prefix))
    if record.circuit is None:
        raise InvalidInput("this run has no circuit", where=record.spec.run_id()[:8])
    return record, record.circuit


def open_store(context: typer.Context) -> Store:
    """Open the store of a command that only reads it.

    Raises:
        StoreError: it cannot be opened, or `--store` names one that does not exist.
    """
    from acdc_pipeline.store import open_store as open_for_reading

    results = open_for_reading(context.params["store"], listener=IndexNotes())
    if is_typed(context, "store") and not results.exists:
        raise StoreError(
            "the store does not exist",
            where=results.url,
            field="--store",
            fix="check the path; 'acdc discover' and 'acdc run' make a new store",
        )
    return results
