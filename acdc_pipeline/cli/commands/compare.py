"""`acdc compare`: methods side by side, from what the store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.terminal.output import note, print_json, say, stdout_kept_clean
from acdc_pipeline.cli.terminal.progress import shown
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.words import number
from acdc_pipeline.cli.views.evaluated import figures_by_run
from acdc_pipeline.cli.views.filters import perhaps
from acdc_pipeline.errors import InvalidInput, UnknownName

if TYPE_CHECKING:
    from acdc_pipeline.store import Figures

COLUMNS = (
    Column("task", "name"),
    Column("model", "name"),
    Column("method"),
    Column("searched by", rank=2),
    Column("measured in", rank=2),
    Column("ablation", rank=1),
    Column("prompts", "number", rank=1),
    Column("seed", "number", rank=1),
    Column("circuits", "number", rank=3),
    Column("CPR", "number"),
    Column("CMD", "number"),
    Column("above null", "number", rank=3),
    Column("stability", "number", rank=4),
)


def compare(
    context: typer.Context,
    task: shared.OfTask = None,
    model: shared.OfModel = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar=shared.METRICS,
            autocompletion=completion.one_of(shared.METRICS),
            help="What faithfulness is measured in. Default: each task's discovery metric.",
        ),
    ] = None,
    device: shared.Device = "auto",
    memory: shared.Memory = None,  # noqa: ARG001  (read from the context)
    threads: shared.Threads = None,  # noqa: ARG001  (read from the context)
    store: shared.StoreUrl = None,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print one Markdown table: methods x tasks and models."),
    ] = False,
    json: shared.Json = False,
) -> None:
    """CPR and CMD of every search in the store: methods x tasks x models. Stores nothing.

    Runs that differ in threshold or size alone are one search. Null and stability are what
    `acdc evaluate` measured of its largest circuit; a dash where it did not.

    Example: acdc run deploy/sweeps/methods.yaml && acdc compare
    """
    from acdc_pipeline.cli.views.run import evaluation_part
    from acdc_pipeline.specs.names import METRICS, MetricName

    if json and markdown:
        raise InvalidInput("--markdown and --json exclude one another", where="compare")
    budget, threads_asked = shared.memory_of(context), shared.threads_of(context)
    if metric is not None and metric not in METRICS:
        raise UnknownName.among("metric", metric, METRICS)
    results = shared.store_for_reading(store)
    found = results.summaries()
    summaries = [
        summary
        for summary in found
        if task in (None, summary.spec.task) and model in (None, summary.spec.model)
    ]
    if not any(summary.edges_kept is not None for summary in summaries):
        hint = perhaps(task, model, (summary.spec for summary in found))
        note(f"no circuit to compare{hint}")
        if json:
            print_json({"store": results.url, "searches": []})
        return
    with stdout_kept_clean(), shown() as progress:
        from acdc_pipeline.execution.worker import Worker
        from acdc_pipeline.workflows.compare import compare as compared

        shared.use_threads(threads_asked)
        worker = Worker(device=device, memory=budget)
        found = compared(
            results,
            summaries,
            worker,
            cast("MetricName | None", metric),
            lambda spec: progress.doing(f"{spec.method.name}: {spec.task} in {spec.model}"),
        )
    evaluated = figures_by_run(results, [one.run.run_id() for one in found])
    for one in found:
        if one.problem is not None:
            note(f"{one.run.method.name}: {one.run.task} in {one.run.model}: {one.problem}")
    if json:
        searches = [
            {
                "run_id": one.run.run_id(),
                **one.run.plain(),
                "circuits": one.circuits,
                "measured_in": one.metric,
                "cpr": one.cpr,
                "cmd": one.cmd,
                "problem": one.problem,
                **evaluation_part(evaluated.get(one.run.run_id())),
            }
            for one in found
        ]
        print_json({"store": results.url, "searches": searches})
        return
    if markdown:
        from acdc_pipeline.cli.views.comparison_table import comparison_table

        say(comparison_table(found))
        return
    rows = [
        {
            "task": one.run.task,
            "model": one.run.model,
            "method": one.run.method.name,
            "searched by": one.run.method.plain()["metric"],
            "measured in": one.metric,
            "ablation": one.run.method.plain()["ablation"],
            "prompts": str(one.run.prompts),
            "seed": str(one.run.seed),
            "circuits": str(one.circuits),
            "CPR": number(one.cpr),
            "CMD": number(one.cmd),
            **(_evaluated(evaluated.get(one.run.run_id())) if evaluated else {}),
        }
        for one in found
    ]
    print_table(COLUMNS, rows)


def _evaluated(figures: Figures | None) -> dict[str, str]:
    from acdc_pipeline.cli.views.run_list import evaluation_cells

    cells = evaluation_cells(figures)
    return {name: cells[name] for name in ("above null", "stability")}
