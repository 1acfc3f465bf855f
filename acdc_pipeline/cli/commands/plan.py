"""`acdc plan`: what a sweep would do, and its cost in time and memory."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from acdc_pipeline.cli.commands.run import plan_with_store
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options import sweep as sweep_options
from acdc_pipeline.cli.terminal.output import print_facts, print_json, print_line
from acdc_pipeline.cli.terminal.streams import reserve_stdout
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import (
    format_clock,
    format_size,
    format_span,
    relative_path,
)
from acdc_pipeline.cli.views.sweep import UNSUPPORTED, print_failures, refusal_document
from acdc_pipeline.text import NONE, pluralize
from acdc_pipeline.workflows.executors import DEFAULT_PROFILE, ExecutionSettings, execution_settings

if TYPE_CHECKING:
    from acdc_pipeline.store import Store
    from acdc_pipeline.workflows.forecast import CellForecast
    from acdc_pipeline.workflows.sweep import SweepStatus

COLUMNS = (
    Column("model", "name"),
    Column("task", "name"),
    Column("cached", "number"),
    Column("to run", "number"),
    Column("failed", "number", rank=1),
    Column("refused", "number", rank=1),
    Column(UNSUPPORTED, "number", rank=1),
    Column("edges", "number", rank=4),
    Column("time", "number", rank=2),
    Column("memory", "number", rank=3),
)


def plan(
    context: typer.Context,
    sweep: sweep_options.SweepName,
    profile: sweep_options.ProfileName = DEFAULT_PROFILE,
    executor: sweep_options.ExecutorName = None,
    shard: sweep_options.Shard = None,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Show what a sweep would do: runs in the store, to run and failed before, and their cost.

    Nothing is executed and no store is created. Times are rough: taken from stored runs of the
    same task and model if there are any, else from a count of operations.

    \b
    Examples:
      acdc plan demo
      acdc plan deploy/sweeps/paper.yaml --profile gpu --json
    """
    settings = execution_settings(profile, executor=sweep_options.read_executor(context))
    with reserve_stdout():
        results, status = plan_with_store(sweep, store, settings, shard, json=json)
        from acdc_pipeline.workflows.forecast import forecast

        specs = [planned.run for planned in status.plan.runs]
        hashes, revisions = {s.task_hash for s in specs}, {s.model_revision for s in specs}
        past = results.summaries(where={"task_hash": hashes, "model_revision": revisions})
        cells = forecast(status, past, settings.profile)
    if json:
        print_json(_document(status, cells, results, settings))
        return
    if cells:
        shown = [c for c in COLUMNS if status.plan.unsupported or c.name != UNSUPPORTED]
        print_table(shown, [_row(cell) for cell in cells])
        print_line("")
    print_facts(_facts(status, cells, results, settings))
    print_failures(status, (), hint="--retry-failed tries again")


def _row(cell: CellForecast) -> dict[str, str]:
    unusable = cell.refused - cell.unsupported
    counts = (cell.cached, cell.to_run, cell.failed, unusable, cell.unsupported)
    names = ("cached", "to run", "failed", "refused", UNSUPPORTED)
    return {
        "model": cell.model,
        "task": cell.task,
        **{name: str(count or NONE) for name, count in zip(names, counts, strict=True)},
        "edges": NONE if cell.edges is None else str(cell.edges),
        "time": format_clock(cell.seconds) if cell.to_run else NONE,
        "memory": NONE if cell.memory is None else format_size(cell.memory),
    }


def _facts(
    status: SweepStatus,
    cells: tuple[CellForecast, ...],
    results: Store,
    settings: ExecutionSettings,
) -> dict[str, str]:
    to_run = len(status.runs("to run"))
    counts = {
        "in the store": len(status.runs("cached")),
        "to run": to_run,
        "failed before": len(status.runs("failed before")),
        "refused": len(status.plan.refused) - len(status.plan.unsupported),
        UNSUPPORTED: len(status.plan.unsupported),
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    facts = {
        "sweep": f"{status.plan.name}: {pluralize(sum(counts.values()), 'run')}"
        + (f", {', '.join(parts)}" if parts else ""),
        "store": relative_path(results.url),
    }
    if to_run:
        profile, seconds = settings.profile, sum(cell.seconds for cell in cells)
        workers = profile.workers
        facts |= {
            "edge tests": f"at most {sum(cell.edge_tests for cell in cells):,}",
            "time": f"about {format_span(seconds / workers)} on "
            f"{pluralize(workers, 'worker')} of profile '{settings.name}' "
            f"({profile.executor}), {_hours(settings, seconds)}",
            "estimated from": _basis(to_run, sum(cell.measured for cell in cells)),
            "memory": f"at most {format_size(max(cell.memory or 0 for cell in cells))} "
            "a worker, with the weights",
        }
    return facts


def _hours(settings: ExecutionSettings, seconds: float) -> str:
    profile = settings.profile
    cpu = f"{seconds * profile.cpus_each / 3600:.2g} CPU hours"
    return f"{seconds * profile.gpus / 3600:.2g} GPU hours and {cpu}" if profile.gpus else cpu


def _basis(to_run: int, measured: int) -> str:
    from acdc_pipeline.specs import SearchMethod
    from acdc_pipeline.workflows.forecast import CPU_RATE, GPU_RATE

    estimated = to_run - measured
    parts = []
    if measured:
        parts.append(
            f"runs of the same task and model in the store ({pluralize(measured, 'run')}; "
            "on the hardware they ran on)"
        )
    if estimated:
        parts.append(
            f"a count of operations ({pluralize(estimated, 'run')}; it can be wrong by a "
            f"factor of 10): an edge test takes {SearchMethod.TEST_COST:.0%} of a forward pass, a "
            f"CPU does {CPU_RATE:.0e} operations a second and a GPU {GPU_RATE:.0e}"
        )
    return "; ".join(parts)


def _document(
    status: SweepStatus,
    cells: tuple[CellForecast, ...],
    results: Store,
    settings: ExecutionSettings,
) -> dict[str, Any]:
    seconds = sum(cell.seconds for cell in cells)
    return {
        "sweep": status.plan.name,
        "store": results.url,
        "profile": {"name": settings.name, **settings.profile.plain()},
        "totals": {
            "cached": len(status.runs("cached")),
            "to_run": len(status.runs("to run")),
            "failed": len(status.runs("failed before")),
            "refused": len(status.plan.refused),
            "unsupported": len(status.plan.unsupported),
            "edge_tests": sum(cell.edge_tests for cell in cells),
            "seconds": seconds,
            "cpu_hours": seconds * settings.profile.cpus_each / 3600,
            "gpu_hours": seconds * settings.profile.gpus / 3600,
        },
        "cells": [asdict(cell) for cell in cells],
        "runs": [
            {
                "run_id": planned.run_id,
                **planned.run.plain(),
                "standing": status.state(planned).replace(" ", "_"),
            }
            for planned in status.plan.runs
        ],
        "refused": [refusal_document(refusal) for refusal in status.plan.refused],
    }
