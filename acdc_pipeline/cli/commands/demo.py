"""`acdc demo`: the whole pipeline on the bundled models: sweep, circuits, heads, store, wiki."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.commands import wiki
from acdc_pipeline.cli.commands.run import execute_with_progress, plan_with_store, print_cached
from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.options import sweep as sweep_options
from acdc_pipeline.cli.terminal.output import print_json, print_line, print_note
from acdc_pipeline.cli.terminal.streams import reserve_stdout
from acdc_pipeline.cli.terminal.tables import print_table
from acdc_pipeline.cli.terminal.text import relative_path
from acdc_pipeline.cli.views.run import run_name
from acdc_pipeline.cli.views.sweep import print_failures
from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.text import pluralize
from acdc_pipeline.workflows.executors import DEFAULT_PROFILE, check_executor, execution_settings

if TYPE_CHECKING:
    from acdc_pipeline.execution.runs import Outcome
    from acdc_pipeline.store import RunRecord, Store
    from acdc_pipeline.workflows.sweep import SweepStatus


def demo(
    context: typer.Context,
    sweep: sweep_options.SweepName = "demo",
    executor: Annotated[
        str,
        typer.Option(
            **completion.choice("ray|local"),
            help="Execute on a local Ray started for the demo, or in this process.",
        ),
    ] = "ray",
    out: wiki.Folder = None,
    device: shared.Device = "auto",
    memory: shared.Memory = None,
    threads: shared.Threads = None,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Find circuits in the bundled models and what their heads do, and build a wiki of both.

    A local Ray with two workers is started for it. Runs in the store are not computed again.

    Example: acdc demo
    """
    from acdc_pipeline.workflows.site import check_site_folder

    with shared.naming_options("out"):
        check_site_folder(out)
    settings = execution_settings(
        DEFAULT_PROFILE,
        executor=check_executor(executor, "--executor"),
        device=device,
        memory=shared.read_memory(context),
        threads=shared.read_threads(context),
    )
    with reserve_stdout():
        results, status = plan_with_store(sweep, store, settings, None, json=json)
        cached = {planned.run_id for planned in status.runs("cached")}
        print_cached(status)
        todo = status.runs("to run", "failed before")
        outcomes = execute_with_progress(
            todo, results, settings, resume_command=shared.repeat_command(context)
        )
        built = wiki.build_from_store(results, out)
    stored = {outcome.planned.run_id for outcome in outcomes if outcome.error is None} | cached
    records = [results.get(run.run_id) for run in status.plan.runs if run.run_id in stored]
    failed = _failed(status, outcomes)
    if json:
        from acdc_pipeline.cli.views.run import run_document

        documents = [
            {
                **run_document(r),
                "cached": r.spec.run_id() in cached,
                "path": results.path(r.spec.run_id()),
            }
            for r in records
        ]
        site = None if built is None else str(built)
        print_json({"store": results.url, "runs": documents, "failed": failed, "wiki": site})
    else:
        _show(results, records, shared.repeat_option(context, "store"))
        if built is not None:
            print_line(
                f"\nThe wiki, a page for every head: open {relative_path(str(built))} in a browser"
            )
    print_failures(status, outcomes, hint="")
    if failed:
        total = len(status.plan.runs) + len(status.plan.refused)
        raise ExecutionFailed(
            f"{len(failed)} of {pluralize(total, 'run')} failed", fix="see the messages above"
        )


def _failed(status: SweepStatus, outcomes: list[Outcome]) -> list[dict[str, Any]]:
    ended = [
        {"run": run_name(outcome.planned.run), "error": str(outcome.error)}
        for outcome in outcomes
        if outcome.error is not None
    ]
    refused = [
        {"run": f"{r.cell.task.name} in {r.cell.model}", "error": str(r.error)}
        for r in status.plan.refused
    ]
    return ended + refused


def _show(results: Store, records: list[RunRecord], store_option: str) -> None:
    from acdc_pipeline.cli.views.run import edge_counts
    from acdc_pipeline.cli.views.run_list import COLUMNS, result_cells, run_cells

    if not records:
        return
    rows = [
        run_cells(r.spec.run_id(), r.spec)
        | result_cells(*edge_counts(r), r.metrics, r.wall_seconds)
        for r in records
    ]
    print_table(COLUMNS, rows)
    for record in records:
        for warning in record.details.get("warnings", ()):
            print_note(f"note: {run_name(record.spec)}: {warning}", indent="      ")
    first = records[0].spec.run_id()
    folder = results.path(first).removesuffix(f"/{first}")
    print_line(f"\nStored in {relative_path(folder)}/, a folder for each run.")
    circuits = [(r, len(r.circuit)) for r in records if r.circuit is not None]
    if circuits:
        best, _ = min(
            circuits, key=lambda found: (-found[0].metrics.get("accuracy", 0.0), found[1])
        )
        print_line(
            f"\nDraw one: acdc runs show {best.spec.run_id()[:8]} --svg circuit.svg{store_option}"
        )
    print_line(f"All of them: acdc runs list{store_option}")
