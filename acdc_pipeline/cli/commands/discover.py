"""`acdc discover`: one run, in this process."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.options.parsers import MAX_PROMPTS, MAX_SEARCHES, MAX_SEED, integer, number
from acdc_pipeline.cli.terminal.output import print_facts, print_json, print_line, print_note
from acdc_pipeline.cli.terminal.progress import show_progress
from acdc_pipeline.cli.terminal.text import relative_path
from acdc_pipeline.text import pluralize
from acdc_pipeline.workflows.shards import spread

if TYPE_CHECKING:
    from acdc_pipeline.specs import TaskSpec

DEFAULT_THRESHOLD = 0.01
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
            help=shared.METHOD_HELP,
        ),
    ] = "acdc",
    metric: Annotated[
        str | None,
        typer.Option(
            **completion.METRIC,
            help="The metric that scores and thresholds refer to. Default: the task's discovery "
            "metric.",
        ),
    ] = None,
    ablation: Annotated[
        str | None,
        typer.Option(
            **completion.choice(shared.ABLATIONS),
            help="What a removed edge carries. Default: {default}.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            **number("--threshold"),
            help="For {owners}: an edge is removed if that costs less than this; above 0. "
            f"Default: {DEFAULT_THRESHOLD}.",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            **completion.choice("reverse-heads|natural"),
            help="For {owners}: direction among the heads of a layer. Default: {default}.",
        ),
    ] = None,
    difference: Annotated[
        str | None,
        typer.Option(
            **completion.choice("signed|abs"),
            help="For {owners}: whether a change for the better counts as none or by its size. "
            "Default: {default}.",
        ),
    ] = None,
    consensus: Annotated[
        int | None,
        typer.Option(
            **integer("--consensus", 2, MAX_SEARCHES),
            help="For {owners}: search so many times, each in another order and on a resample of "
            "the prompts, and keep what they agree on. Default: one search.",
        ),
    ] = None,
    consensus_line: Annotated[
        float | None,
        typer.Option(
            **number("--consensus-line"),
            help="For {owners}: keep the edges that more than this share of the searches kept. "
            "Default: {default}.",
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            **number("--share"),
            help="The share of the edges to keep, up to 1. Default: 0.05.",
        ),
    ] = None,
    edges: Annotated[
        int | None,
        typer.Option(
            **integer("--edges", 1),
            help="The number of edges to keep, in place of --share.",
        ),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option(
            **completion.choice("magnitude|signed"),
            help="For methods with signed scores: rank by magnitude or with sign. Default: "
            "{default}.",
        ),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            **completion.choice("greedy|ilp"),
            help="Choose edges one by one, or by an integer program (needs the extra ilp). "
            "Default: {default}.",
        ),
    ] = None,
    positive_share: Annotated[
        float | None,
        typer.Option(
            **number("--positive-share"),
            help="For {owners}: the least share of kept edges with a score above 0, up to 1. "
            "Default: {default}.",
        ),
    ] = None,
    sign_filter: Annotated[
        int | None,
        typer.Option(
            **integer("--sign-filter", 40, 100_000),
            help="For {owners}: keep no edge whose sign differs on so many resamples, 40 or more. "
            "Default: no filter.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            **integer("--steps", 1),
            help="For eap-ig-inputs, eap-ig-activations, eap-ig-acdc: points at which gradients "
            "are taken; for conductance: intervals between them; default 5. For methods that train "
            "gates: steps of the optimiser; default 300.",
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            **integer("--points", 1),
            help="For {owners}: points at which each EAP-IG takes gradients. Default: {default}.",
        ),
    ] = None,
    combine: Annotated[
        str | None,
        typer.Option(
            **completion.choice("mean|max|min"),
            help="For {owners}: what the score of an edge is, of the scores by each method. "
            "Default: {default}.",
        ),
    ] = None,
    grad_drop: Annotated[
        str | None,
        typer.Option(
            **completion.choice("layers|none"),
            help="For {owners}: mean of magnitudes over gradients without one layer each, or one "
            "estimate with its sign. Default: {default}.",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            **integer("--rounds", 1, 1000),
            help="For {owners}: rounds in which edges are removed; the remaining ones are scored "
            "again in each. Default: {default}.",
        ),
    ] = None,
    screen: Annotated[
        float | None,
        typer.Option(
            **number("--screen"),
            help="For {owners}: the share of the edges that is searched, up to 1. Default: "
            "{default}.",
        ),
    ] = None,
    budget: shared.Budget = None,
    learning_rate: shared.LearningRate = None,
    penalty: Annotated[
        float | None,
        typer.Option(
            **number("--penalty"),
            help="For {owners}: the cost of open gates of nodes. Default: {default}.",
        ),
    ] = None,
    block_penalty: Annotated[
        float | None,
        typer.Option(
            **number("--block-penalty"),
            help="For {owners}: the cost of open gates of blocks. Default: {default}.",
        ),
    ] = None,
    neuron_penalty: Annotated[
        float | None,
        typer.Option(
            **number("--neuron-penalty"),
            help="For {owners}: the cost of open gates of neurons. Default: {default}.",
        ),
    ] = None,
    faithful: Annotated[
        float | None,
        typer.Option(
            **number("--faithful"),
            help="Look for the smallest circuit of this faithfulness, up to 1, in place of "
            "--threshold, --share or --edges.",
        ),
    ] = None,
    experts: Annotated[
        str,
        typer.Option(
            **completion.choice("layer|nodes"),
            help="What a mixture of experts is in the graph: one node, or a node for each expert "
            "and an input for the router.",
        ),
    ] = "layer",
    positions: Annotated[
        str,
        typer.Option(
            **completion.choice("none|spans|tokens"),
            help="Where in the prompt edges are: nowhere in particular, in the spans of the task "
            "(acdc tasks show TASK), or at each absolute token.",
        ),
    ] = "none",
    prompts: Annotated[
        int | None,
        typer.Option(
            **integer("--prompts", 1, MAX_PROMPTS),
            help="How many prompt pairs. Default: 64, or all that a file of pairs has.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(**integer("--seed", 0, MAX_SEED), help="Seed of everything that is drawn."),
    ] = 0,
    dtype: shared.Dtype = "float32",
    device: shared.Device = "auto",
    memory: shared.Memory = None,
    threads: shared.Threads = None,
    shards: shared.Shards = None,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Find the circuit of TASK in MODEL and store it.

    The same command again reads the stored result; another seed or model is another run.

    \b
    Examples:
      acdc discover ioi zoo:gpt2-4l-s0 --threshold 0.01
      acdc discover ioi zoo:gpt2-4l-s0 --faithful 0.9
      acdc discover ioi zoo:gpt2-4l-s0 --consensus 20
      acdc discover ioi zoo:gpt2-4l-s0 --method eap-ig-inputs --share 0.1
      acdc discover pairs.jsonl hf:openai-community/gpt2 --metric logit_diff --json
      acdc discover ioi hf:openai-community/gpt2 --prompts 256 --shards 8
    """
    memory_budget, thread_count = shared.read_memory(context), shared.read_threads(context)
    from acdc_pipeline.specs import METHODS, SearchMethod, find_task, method_for
    from acdc_pipeline.workflows.size_search import check_target

    spec, method = find_task(task), shared.read_method(context)
    is_search = method in METHODS and issubclass(METHODS[method], SearchMethod)
    sizes = {"threshold": threshold, "share": share, "edges": edges}
    if faithful is not None:
        check_target(faithful, sizes, shared.option_name)
    if is_search and threshold is None:
        threshold = DEFAULT_THRESHOLD
    parameters = {
        "metric": metric,
        "ablation": ablation,
        "threshold": threshold,
        "order": order,
        "difference": difference,
        "consensus": consensus,
        "consensus_line": consensus_line,
        "share": share,
        "edges": edges,
        "rank": rank,
        "select": select,
        "positive_share": positive_share,
        "sign_filter": sign_filter,
        "steps": steps,
        "points": points,
        "combine": combine,
        "grad_drop": grad_drop,
        "rounds": rounds,
        "screen": screen,
        "budget": budget,
        "learning_rate": learning_rate,
        "penalty": penalty,
        "block_penalty": block_penalty,
        "neuron_penalty": neuron_penalty,
    }
    chosen = method_for(
        method,
        {name: value for name, value in parameters.items() if value is not None},
        spec,
        where="discover",
        written=shared.option_name,
    )
    with show_progress() as progress, shared.naming_options(*parameters, "device", "shards"):
        progress.status(f"loading {model}")
        progress.tests_edges = is_search
        from acdc_pipeline.execution.plan import plan_run

        run = plan_run(
            spec,
            model,
            method=chosen,
            prompts=prompts or 64,
            seed=seed,
            dtype=dtype,
            experts=experts,
            positions=positions,
        )
        # A request that is not valid is refused before the store is imported.
        from acdc_pipeline.cli.views.faithful import TrialLines
        from acdc_pipeline.store import open_store
        from acdc_pipeline.workflows.discovery import discover_into, worker_factory
        from acdc_pipeline.workflows.faithful import discover_faithful

        results = open_store(store)
        make_worker = worker_factory(device, memory_budget, thread_count)
        make = spread(
            make_worker,
            shards,
            device=device,
            memory=memory_budget,
            threads=thread_count,
            method=run.method,
            written=shared.option_name,
            report=_report,
        )
        if faithful is None:
            found, (record, cached) = (
                None,
                discover_into(results, run, spec, make, progress, report=_report),
            )
        else:
            trials, option = TrialLines(progress), shared.option_name
            found = discover_faithful(
                run, spec, faithful, results, make, progress, trials, option, report=_report
            )
            record, cached = found.record, found.cached
    from acdc_pipeline.cli.views.faithful import (
        default_size_note,
        faithful_document,
        print_trials,
    )
    from acdc_pipeline.cli.views.run import run_document, run_facts

    if prompts is not None and prompts > run.prompts:
        has = pluralize(run.prompts, "prompt pair")
        print_note(f"note: task '{run.task}' has {has}, fewer than requested; all are used")
    for warning in record.details.get("warnings", ()):
        print_note(f"note: {warning}")
    if faithful is None and all(size is None for size in sizes.values()):
        print_note(default_size_note(chosen))
    run_id = record.spec.run_id()
    path = results.path(run_id)
    if json:
        print_json(
            {
                **run_document(record),
                **faithful_document(found),
                "cached": cached,
                "store": results.url,
                "path": path,
            }
        )
        return
    print_trials(found)
    print_facts(
        run_facts(record)
        | {"stored": relative_path(path) + (" (was there already)" if cached else "")}
    )
    name, same = run_id[:8], shared.repeat_option(context, "store")
    print_line("")
    if record.circuit:  # an empty circuit has nothing to draw
        print_line(f"Draw it:    acdc runs show {name} --svg circuit.svg{same}")
    print_line(f"Measure it: acdc evaluate {name}{_task_option(task, spec)}{same}")


def _report(message: str) -> None:
    print_note(f"note: {message}")


def _task_option(given: str, task: TaskSpec) -> str:
    """Return ` --task FILE` if the task of a stored run would not be found by its name alone."""
    from acdc_pipeline.specs.run_task import is_found_again

    return "" if is_found_again(given, task.name) else f" --task {shlex.quote(given)}"
