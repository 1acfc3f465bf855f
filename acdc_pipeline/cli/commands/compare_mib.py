"""`acdc compare --mib`: a submission to the MIB leaderboard, and its scores beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.terminal.output import print_json, print_note
from acdc_pipeline.cli.terminal.progress import show_progress
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.text import format_number, pluralize

if TYPE_CHECKING:
    from acdc_pipeline.store import Store
    from acdc_pipeline.workflows.mib import MibResult
    from acdc_pipeline.workflows.search_areas import SearchAreas

COLUMNS = (
    Column("folder", "name"),
    Column("model", "name", rank=1),
    Column("split"),
    Column("prompts", "number"),
    Column("CMD", "number"),
    Column("CPR", "number"),
    Column("leaderboard", rank=2),
)


def compare_mib(
    context: typer.Context, results: Store, searches: Sequence[SearchAreas], folder: Path
) -> None:
    """Write the searches into `folder` and print CMD and CPR by MIB's protocol."""
    from acdc_pipeline.workflows.discovery import worker_factory
    from acdc_pipeline.workflows.mib import submit_searches

    options: dict[str, Any] = context.params
    memory, threads = shared.read_memory(context), shared.read_threads(context)
    with show_progress() as progress:
        worker = worker_factory(options["device"], memory, threads)()
        progress.step(f"{pluralize(len(searches), 'search')} by MIB's protocol")
        found = submit_searches(
            results,
            searches,
            worker,
            folder,
            options["split"],
            options["mib_data"],
            options["head"],
        )
    for result in found:
        if result.problem is not None:
            print_note(f"{result.folder}: {result.problem}")
    if options["json"]:
        documents = [_document(result) for result in found]
        print_json({"store": results.url, "folder": str(folder), "searches": documents})
    elif rows := [_row(result) for result in found if result.areas is not None]:
        print_table(COLUMNS, rows)
        if not all(result.listed for result in found):
            print_note(
                "the leaderboard has no column for folders with leaderboard: no; "
                "a submission has 2 models and 2 tasks or more"
            )
    if any(result.areas is None for result in found):
        raise typer.Exit(ExecutionFailed.exit_code)


def _row(result: MibResult) -> dict[str, str]:
    assert result.areas is not None
    return {
        "folder": result.folder,
        "model": result.run.model,
        "split": result.split,
        "prompts": str(result.prompts),
        "CMD": format_number(result.areas.cmd),
        "CPR": format_number(result.areas.cpr),
        "leaderboard": "yes" if result.listed else "no",
    }


def _document(result: MibResult) -> dict[str, Any]:
    areas = result.areas
    return {
        "run_id": result.run.run_id(),
        "task": result.run.task,
        "model": result.run.model,
        "folder": result.folder,
        "leaderboard": result.listed,
        "split": result.split,
        "prompts": result.prompts,
        "cmd": None if areas is None else areas.cmd,
        "cpr": None if areas is None else areas.cpr,
        "fractions": [] if areas is None else [point.fraction for point in areas.by_sign],
        "edges": [] if areas is None else [point.edges for point in areas.by_magnitude],
        "faithfulness": []
        if areas is None
        else [point.faithfulness for point in areas.by_magnitude],
        "signed_edges": [] if areas is None else [point.edges for point in areas.by_sign],
        "signed_faithfulness": []
        if areas is None
        else [point.faithfulness for point in areas.by_sign],
        "problem": result.problem,
    }
