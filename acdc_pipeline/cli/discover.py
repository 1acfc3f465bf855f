"""`acdc discover`: one run, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli import options
from acdc_pipeline.cli.numbers import MOST_PROMPTS, decimal, whole
from acdc_pipeline.cli.output import note, print_facts, print_json, say, stdout_kept_clean
from acdc_pipeline.cli.progress import shown
from acdc_pipeline.cli.words import counted, relative
from acdc_pipeline.errors import SpecError, UnknownName

if TYPE_CHECKING:
    from acdc_pipeline.specs import Method


def discover(
    context: typer.Context,
    task: options.TaskName,
    model: options.ModelName,
    method: Annotated[str, typer.Option(metavar="acdc", help="How to search.")] = "acdc",
    threshold: Annotated[
        float,
        typer.Option(
            parser=decimal("--threshold"),
            metavar="NUMBER",
            help="An edge goes if removing it costs less than this; above 0.",
        ),
    ] = 0.01,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="kl|logit_diff|prob_diff|nll|accuracy",
            help="What removing an edge may cost. Default: the task's discovery metric.",
        ),
    ] = None,
    ablation: Annotated[
        str, typer.Option(metavar="corrupted|zero|mean", help="What a removed edge carries.")
    ] = "corrupted",
    order: Annotated[
        str,
        typer.Option(metavar="reverse-heads|natural", help="Direction among heads of a layer."),
    ] = "reverse-heads",
    difference: Annotated[
        str,
        typer.Option(
            metavar="signed|abs", help="Whether a change for the better counts by its size."
        ),
    ] = "signed",
    prompts: Annotated[
        int | None,
        typer.Option(
            parser=whole("--prompts", 1, MOST_PROMPTS),
            metavar="N",
            help="How many prompt pairs. Default: 64, or all that a file of pairs has.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            parser=whole("--seed", 0), metavar="N", help="Seed of everything that is drawn."
        ),
    ] = 0,
    dtype: options.Dtype = "float32",
    device: options.Device = "auto",
    memory: options.Memory = None,  # noqa: ARG001  (read from the context)
    threads: options.Threads = None,  # noqa: ARG001  (read from the context)
    store: options.StoreUrl = None,
    json: options.Json = False,
) -> None:
    """Find the circuit of TASK in MODEL and store it.

    The same command again answers from the store. Another seed, threshold or model is another
    run.

    \b
    Examples:
      acdc discover ioi zoo:gpt2-4l-s0 --threshold 0.01
      acdc discover pairs.jsonl hf:openai-community/gpt2 --metric logit_diff --json
    """
    budget, threads_asked = options.memory_of(context), options.threads_of(context)
    from acdc_pipeline.specs import find_task

    spec = find_task(task)
    chosen = method_of(
        {
            "name": method,
            "threshold": threshold,
            "metric": metric or spec.metrics.discovery,
            "ablation": ablation,
            "order": order,
            "difference": difference,
        },
    )
    with stdout_kept_clean(), shown() as progress:
        progress.wait(f"loading {model}")
        from acdc_pipeline.execution import Worker, discover_into, plan_run
        from acdc_pipeline.store import open_store

        options.use_threads(threads_asked)
        run = plan_run(spec, model, method=chosen, prompts=prompts or 64, seed=seed, dtype=dtype)
        worker = Worker(device=device, memory=budget)
        results = open_store(store)
        if not results.has(run.run_id()):
            results.check_writable()
        record, cached = discover_into(results, run, spec, worker, progress)
    from acdc_pipeline.cli.run_report import run_document, run_facts

    if prompts is not None and prompts > run.prompts:
        has = counted(run.prompts, "prompt pair")
        note(f"note: task '{run.task}' has {has}, fewer than asked for; all are used")
    for doubt in record.details.get("warnings", ()):
        note(f"note: {doubt}")
    path = results.path(run.run_id())
    if json:
        print_json({**run_document(record), "cached": cached, "store": results.url, "path": path})
        return
    print_facts(
        run_facts(record) | {"stored": relative(path) + (" (was there already)" if cached else "")}
    )
    say(f"\nDraw it: acdc runs show {run.run_id()[:8]}{options.same_store(context)}")


def method_of(values: dict[str, Any]) -> Method:
    """The method with its parameters, its errors naming the options that gave them.

    Raises:
        UnknownName: no such method.
        SpecError: a parameter that is not valid.
    """
    from acdc_pipeline.specs import METHODS, parse

    if values["name"] not in METHODS:
        raise UnknownName.among("method", values["name"], METHODS)
    try:
        return parse(values, METHODS[values["name"]], "discover")
    except SpecError as error:
        error.field = f"--{error.field}"
        raise
