"""`acdc discover`: one run, in this process."""

from __future__ import annotations

from typing import Annotated

import typer

from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.options.completion import METHODS
from acdc_pipeline.cli.options.parsers import MAX_PROMPTS, MAX_SEED, integer_parser, number_parser
from acdc_pipeline.cli.terminal.output import print_facts, print_json, print_line, print_note
from acdc_pipeline.cli.terminal.progress import show_progress
from acdc_pipeline.cli.terminal.streams import reserve_stdout
from acdc_pipeline.cli.terminal.text import pluralize, relative_path

SEARCHES = ("acdc", "eap-ig-acdc")
USUAL_THRESHOLD = 0.01
"""Default of `--threshold`."""


def discover(
    context: typer.Context,
    task: shared.TaskName,
    model: shared.ModelName,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.methods,
            help=f"How to search: {', '.join(METHODS)}.",
        ),
    ] = "acdc",
    metric: Annotated[
        str | None,
        typer.Option(
            metavar=shared.METRICS,
            autocompletion=completion.one_of(shared.METRICS),
            help="What removing an edge may cost. Default: the task's discovery metric.",
        ),
    ] = None,
    ablation: Annotated[
        str | None,
        typer.Option(
            metavar=shared.ABLATIONS,
            autocompletion=completion.one_of(shared.ABLATIONS),
            help="What a removed edge carries. Default: corrupted.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            parser=number_parser("--threshold"),
            metavar="NUMBER",
            help="Of searches (acdc, eap-ig-acdc): an edge goes if removing it costs less than "
            "this; above 0. Default: 0.01.",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            metavar="reverse-heads|natural",
            autocompletion=completion.one_of("reverse-heads|natural"),
            help="Of searches: direction among heads of a layer. Default: reverse-heads.",
        ),
    ] = None,
    difference: Annotated[
        str | None,
        typer.Option(
            metavar="signed|abs",
            autocompletion=completion.one_of("signed|abs"),
            help="Of searches: whether a change for the better counts by its size. "
            "Default: signed.",
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            parser=number_parser("--share"),
            metavar="NUMBER",
            help="Of methods that score every edge: how much of the graph to keep, up to 1. "
            "Default: 0.05.",
        ),
    ] = None,
    edges: Annotated[
        int | None,
        typer.Option(
            parser=integer_parser("--edges", 1),
            metavar="N",
            help="Of methods that score every edge: how many to keep, in place of --share.",
        ),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option(
            metavar="magnitude|signed",
            autocompletion=completion.one_of("magnitude|signed"),
            help="Of methods whose scores have a sign: whether it counts. Default: magnitude.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            parser=integer_parser("--steps", 1),
            metavar="N",
            help="Of eap-ig-…: at how many points gradients are taken; default 5. Of methods that "
            "train gates: of the optimiser; default 300.",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            parser=integer_parser("--rounds", 1),
            metavar="N",
            help="Of eap-ig-inputs: in how many rounds edges go, the scores of those left taken "
            "anew in each. Default: 1.",
        ),
    ] = None,
    screen: Annotated[
        float | None,
        typer.Option(
            parser=number_parser("--screen"),
            metavar="NUMBER",
            help="Of eap-ig-acdc: how much of the graph is searched, up to 1. Default: 0.2.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            parser=number_parser("--learning-rate"),
            metavar="NUMBER",
            help="Of methods that train gates. Default: 0.1.",
        ),
    ] = None,
    penalty: Annotated[
        float | None,
        typer.Option(
            parser=number_parser("--penalty"),
            metavar="NUMBER",
            help="Of subnetwork-probing: what keeping all gates open costs. Default: 1.",
        ),
    ] = None,
    prompts: Annotated[
        int | None,
        typer.Option(
            parser=integer_parser("--prompts", 1, MAX_PROMPTS),
            metavar="N",
            help="How many prompt pairs. Default: 64, or all that a file of pairs has.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            parser=integer_parser("--seed", 0, MAX_SEED),
            metavar="N",
            help="Seed of everything that is drawn.",
        ),
    ] = 0,
    dtype: shared.Dtype = "float32",
    device: shared.Device = "auto",
    memory: shared.Memory = None,  # noqa: ARG001  (read from the context)
    threads: shared.Threads = None,  # noqa: ARG001  (read from the context)
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Find the circuit of TASK in MODEL and store it.

    The same command again reads the result from the store. Another seed, threshold or model is
    another run.

    \b
    Examples:
      acdc discover ioi zoo:gpt2-4l-s0 --threshold 0.01
      acdc discover ioi zoo:gpt2-4l-s0 --method eap-ig-inputs --share 0.1
      acdc discover pairs.jsonl hf:openai-community/gpt2 --metric logit_diff --json
    """
    memory_budget, thread_count = shared.read_memory(context), shared.read_threads(context)
    from acdc_pipeline.specs import find_task, method_for

    spec = find_task(task)
    if method in SEARCHES and threshold is None:
        threshold = USUAL_THRESHOLD
    parameters = {
        "metric": metric,
        "ablation": ablation,
        "threshold": threshold,
        "order": order,
        "difference": difference,
        "share": share,
        "edges": edges,
        "rank": rank,
        "steps": steps,
        "rounds": rounds,
        "screen": screen,
        "learning_rate": learning_rate,
        "penalty": penalty,
    }
    chosen = method_for(
        method,
        {name: value for name, value in parameters.items() if value is not None},
        spec,
        where="discover",
        written=_option,
    )
    with reserve_stdout(), show_progress() as progress:
        progress.status(f"loading {model}")
        progress.tests_edges = method in SEARCHES
        from acdc_pipeline.execution.plan import plan_run
        from acdc_pipeline.store import open_store
        from acdc_pipeline.workflows.discovery import discover_into, worker_factory

        run = plan_run(spec, model, method=chosen, prompts=prompts or 64, seed=seed, dtype=dtype)
        results = open_store(store)
        make_worker = worker_factory(device, memory_budget, thread_count)
        record, cached = discover_into(results, run, spec, make_worker, progress)
    from acdc_pipeline.cli.views.run import run_document, run_facts

    if prompts is not None and prompts > run.prompts:
        has = pluralize(run.prompts, "prompt pair")
        print_note(f"note: task '{run.task}' has {has}, fewer than requested; all are used")
    for warning in record.details.get("warnings", ()):
        print_note(f"note: {warning}")
    path = results.path(run.run_id())
    if json:
        print_json({**run_document(record), "cached": cached, "store": results.url, "path": path})
        return
    print_facts(
        run_facts(record)
        | {"stored": relative_path(path) + (" (was there already)" if cached else "")}
    )
    name, same = run.run_id()[:8], shared.repeat_option(context, "store")
    print_line(f"\nDraw it:    acdc runs show {name}{same}\nMeasure it: acdc evaluate {name}{same}")


def _option(parameter: str) -> str:
    """How a method's parameter is written on the command line."""
    return "--" + parameter.replace("_", "-")
