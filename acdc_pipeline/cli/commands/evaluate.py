"""`acdc evaluate`: how faithful, complete, minimal and stable a circuit is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.options.given_circuit import (
    FILE_OPTIONS,
    check_cut_options,
    plan_given,
)
from acdc_pipeline.cli.options.parsers import (
    MAX_DRAWN,
    MAX_PROMPTS,
    integer,
    number,
    output_file,
)
from acdc_pipeline.cli.terminal import output
from acdc_pipeline.cli.terminal.files import check_drawing, write_drawing
from acdc_pipeline.cli.terminal.progress import show_progress
from acdc_pipeline.cli.terminal.tables import print_table
from acdc_pipeline.errors import InvalidInput, StoreError

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.specs import RunSpec, TaskSpec
    from acdc_pipeline.store import Store
    from acdc_pipeline.workflows.evaluation_plan import EvaluationPlan


def evaluate(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|TASK",
            autocompletion=completion.runs_and_tasks,
            help="A stored run, or a task with MODEL.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", autocompletion=completion.models, help=shared.MODEL_HELP),
    ] = None,
    edges: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|EDGES",
            help="With TASK MODEL: the circuit, as edges separated by commas or as a file: of "
            "`runs export` (node-link, mib-json), of EAP-IG, MIB, auto-circuit or the original "
            "ACDC, a JSON list of edges, one edge a line.",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            **integer("--top", 0),
            help="With a file of scores: evaluate the circuit of the N best edges.",
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            **number("--share"),
            help="In place of --top: the share of the edges, up to 1.",
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            **completion.choice("edge|node|neuron"),
            help="With --top or --share: what is counted. Default: what has scores.",
        ),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            **completion.choice("top-n|greedy|threshold|connected"),
            help="With --top or --share: how edges are taken. Default: as MIB (top-n) or "
            "auto-circuit (threshold) does.",
        ),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option(
            **completion.choice("magnitude|signed"),
            help="With --top or --share: rank by magnitude or with sign. Default: magnitude.",
        ),
    ] = None,
    neuron_basis: Annotated[
        str | None,
        typer.Option(
            **completion.choice("stored|centred"),
            help="For a file with neuron masks: of which outputs they are. centred: as "
            "TransformerLens loads models with LayerNorm by default. Default: stored.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            **completion.METRIC,
            help="Metric of faithfulness. Default: the run's, or the task's.",
        ),
    ] = None,
    ablation: Annotated[
        str | None,
        typer.Option(
            **completion.choice(shared.ABLATIONS),
            help="With TASK MODEL: what a removed edge carries. Default: corrupted.",
        ),
    ] = None,
    prompts: Annotated[
        int | None,
        typer.Option(
            **integer("--prompts", 1, MAX_PROMPTS),
            help="With TASK MODEL: number of prompt pairs. Default: 64.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Also measure completeness, worst knockouts, minimality, causal scrubbing, fresh "
            "prompts, stability and transfer. This may take minutes.",
        ),
    ] = False,
    null: Annotated[
        int | None,
        typer.Option(
            **integer("--null", 0, MAX_DRAWN),
            help="Number of random circuits of equal size; 0 for none. Default: 50, fewer in "
            "large models.",
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(
            **integer("--draws", 0, MAX_DRAWN),
            help="Measure completeness, minimality and causal scrubbing with N random sets of "
            "nodes and N rounds of scrubbing; 0 for none. With --full: 5.",
        ),
    ] = None,
    restarts: Annotated[
        int | None,
        typer.Option(
            **integer("--restarts", 0, MAX_DRAWN),
            help="Measure the worst knockout by N greedy searches for the nodes without which "
            "circuit and model differ most; 0 for none. With --full: 2.",
        ),
    ] = None,
    resamples: Annotated[
        int | None,
        typer.Option(
            **integer("--resamples", 0, MAX_DRAWN),
            help="Measure stability and transfer by N searches on resampled prompts; 0 for none. "
            "With --full: 5.",
        ),
    ] = None,
    ablations: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Measure under these: corrupted, zero, mean, resample, adversarial; all or none. "
            "Default: the first three; with --full: all.",
        ),
    ] = None,
    adversarial: Annotated[
        int | None,
        typer.Option(
            **integer("--adversarial", 0, MAX_DRAWN),
            help="Measure adversarial ablation by a search of N circuits, beside --ablations; 0 "
            "for none. With --full: 100.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            autocompletion=completion.tasks,
            help="With RUN: its task, if it is not found: a name, a folder, or a .jsonl of "
            "prompt pairs.",
        ),
    ] = None,
    seed: shared.Seed = 0,
    svg: Annotated[
        Path | None, typer.Option(**output_file("--svg"), help="Draw the curve; - for stdout.")
    ] = None,
    force: shared.Force = False,
    dtype: shared.Dtype = "float32",
    device: shared.Device = "auto",
    memory: shared.Memory = None,
    threads: shared.Threads = None,
    shards: shared.Helpers = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            autocompletion=completion.profiles,
            help="Worker profile with shards: what measures. With executor ray, actors of a Ray "
            "cluster.",
        ),
    ] = None,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Measure a circuit: how faithful it is, and with --full how complete, minimal and stable.

    By default: faithfulness in the metrics of the search and of the task and under three ablations,
    both accuracies, the curve, and random circuits. That takes seconds for a small model and about
    a minute for one of 135 million parameters. An option with a number also switches its
    measurement on.

    The evaluation of RUN is stored beside it: `runs list`, `runs show`, `compare` and the wiki
    show it, and the same command again reads it from there. For TASK MODEL --edges nothing is
    stored.

    The curve comes from the scores of the run, or from the stored runs of the same search at
    other thresholds.

    \b
    Examples:
      acdc evaluate 3f2a91c0
      acdc evaluate 3f2a91c0 --full --svg curve.svg
      acdc evaluate 3f2a91c0 --ablations all
      acdc evaluate 3f2a91c0 --full --shards 4
      acdc evaluate 3f2a91c0 --full --profile workers/cluster.yaml --shards 8
      acdc evaluate ioi zoo:gpt2-4l-s0 --edges circuit.json --json
      acdc evaluate ioi zoo:gpt2-4l-s0 --edges importances.pt --share 0.05
    """
    memory_budget, thread_count = shared.read_memory(context), shared.read_threads(context)
    _check_options(context.params)
    check_drawing(svg, force=force, json=json, command="evaluate")
    masks: Mapping[str, Any] = {}
    unkept: StoreError | None = None
    with show_progress() as progress, shared.naming_options("ablations", "device", "shards"):
        progress.status("loading")
        from acdc_pipeline.workflows.discovery import worker_factory
        from acdc_pipeline.workflows.evaluation_plan import evaluation_plan

        make_worker = worker_factory(
            device,
            memory_budget,
            thread_count,
            shards=shards,
            report=lambda message: output.print_note(f"note: {message}"),
            profile=profile,
        )
        plan = evaluation_plan(
            "full" if full else "basic",
            null=null,
            draws=draws,
            restarts=restarts,
            resamples=resamples,
            ablations=None if ablations is None else ablations.split(","),
            forwards=adversarial,
            seed=seed,
        )
        # Modules that measure import torch, which takes seconds: after everything is checked.
        if model is None:
            results, spec, definition, circuit = _stored_run(context, run)
            warnings = list(results.evaluations([spec.run_id()]).damaged)
            kept = _stored_figures(results, spec, circuit, plan)
            found, figures, cached = None, kept, True
            if kept is None or svg is not None:
                from acdc_pipeline.workflows.stored_evaluation import evaluate_into

                progress.prefix = f"evaluating {spec.task} in {spec.model}: "
                answer = evaluate_into(
                    results, make_worker, spec, definition, circuit, plan, progress
                )
                found, cached, unkept = answer.evaluation, answer.cached, answer.unkept
        else:
            spec, definition, given = plan_given(context.params)
            from acdc_pipeline.workflows.circuit_files import mask_figures, notes_on
            from acdc_pipeline.workflows.evaluate import evaluate_given

            progress.prefix = f"evaluating {spec.task} in {spec.model}: "
            worker = make_worker()
            found = evaluate_given(worker, spec, definition, given, plan, progress)
            figures, cached = None, False
            warnings, masks = notes_on(given, spec, worker.model(spec).weights), mask_figures(given)
    from acdc_pipeline.cli.views.evaluation import (
        CURVE_COLUMNS,
        ablation_table,
        curve_rows,
        evaluation_facts,
        mask_facts,
    )

    if found is not None:
        from acdc_pipeline.workflows.stored_evaluation import evaluation_figures

        figures = evaluation_figures(found)
    output.print_warnings(warnings)
    if unkept is not None:
        output.print_warnings([f"not stored: {unkept}"])
    if svg is not None and found is not None:
        picture = found.draw(f"{spec.task} in {spec.model}").svg
        if write_drawing(svg, picture):
            return
    identity = {
        **({"run": spec.run_id()} if model is None else {}),
        "task": spec.task,
        "model": spec.model,
    }
    assert figures is not None
    if json:
        drawing = None if svg is None else str(svg)
        output.print_json({**identity, **figures, **masks, "cached": cached, "drawing": drawing})
        return
    output.print_facts(
        identity
        | evaluation_facts(figures)
        | mask_facts(masks)
        | ({"stored": _stored_text(cached, unkept)} if model is None else {})
        | ({"drawing": str(svg)} if svg else {})
    )
    for columns, rows in (ablation_table(figures), (CURVE_COLUMNS, curve_rows(figures))):
        if rows:
            output.print_line("")
            print_table(columns, rows)


def _stored_run(context: typer.Context, run: str) -> tuple[Store, RunSpec, TaskSpec, Circuit]:
    """Return the store, and the run to evaluate in it with its task. Raises InvalidInput."""
    from acdc_pipeline.specs.run_task import task_of_run

    results = shared.open_store(context)
    record, circuit = shared.find_circuit(results, run)
    return results, record.spec, task_of_run(record.spec, context.params["task"]), circuit


def _stored_figures(
    results: Store, spec: RunSpec, circuit: Circuit, plan: EvaluationPlan
) -> Mapping[str, Any] | None:
    """Return the evaluation of a run that the store has; None if it has to be measured.

    Raises SpecError if it has to be measured and the model was in memory: it cannot be loaded.
    """
    from acdc_pipeline.specs import ModelRef
    from acdc_pipeline.workflows.kept_evaluation import stored_figures

    kept = stored_figures(results, spec, circuit, plan)
    if kept is None:
        ModelRef.parse(spec.model)
    return kept


def _stored_text(cached: bool, unkept: StoreError | None) -> str:
    if unkept is not None:
        return "no"
    return "beside the run" + (" (was there already: nothing was measured now)" if cached else "")


def _check_options(given: Mapping[str, Any]) -> None:
    """Raise InvalidInput if options and arguments contradict one another."""
    from acdc_pipeline.specs import list_tasks
    from acdc_pipeline.specs.catalogue import is_task_path

    run, model = given["run"], given["model"]
    if model is not None and given["edges"] is None:
        raise InvalidInput(
            "no circuit is given",
            where="evaluate",
            field="--edges",
            fix="name a file or edges, or evaluate a stored run: acdc evaluate RUN",
        )
    given_only = ("edges", "metric", "ablation", "prompts", *FILE_OPTIONS)
    of_run = [name for name in given_only if given[name] is not None]
    if model is None and (run in list_tasks() or is_task_path(run)):
        raise InvalidInput(
            f"'{run}' is a task, and no model is given",
            where="evaluate",
            field="MODEL",
            fix=f"acdc evaluate {run} MODEL --edges FILE, or a stored run of this task: "
            f"acdc evaluate RUN --task {run}",
        )
    if model is None and of_run:
        raise InvalidInput(
            "a stored run has its own",
            where="evaluate",
            field=shared.option_name(of_run[0]),
            fix="leave it out, or give TASK MODEL",
        )
    if model is not None and given["task"] is not None:
        raise InvalidInput(
            f"the task is '{run}', given before MODEL",
            where="evaluate",
            field="--task",
            fix="leave it out; --task is for a stored RUN",
        )
    check_cut_options(given)
