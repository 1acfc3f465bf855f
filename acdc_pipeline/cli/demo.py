"""`acdc demo`: circuits of several tasks in the models that ship with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli import options
from acdc_pipeline.cli.faults import told
from acdc_pipeline.cli.output import (
    console,
    note,
    note_wait,
    number,
    percent,
    print_json,
    relative,
    say,
    stdout_kept_clean,
    table,
)
from acdc_pipeline.errors import AcdcError, ExecutionFailed

if TYPE_CHECKING:
    from acdc_pipeline.specs import Cell
    from acdc_pipeline.store import RunRecord, Store


def demo(
    sweep: Annotated[
        str, typer.Option(metavar="SWEEP", help="A sweep by name, or its .yaml file.")
    ] = "demo",
    device: options.Device = "auto",
    memory: options.Memory = None,
    store: options.StoreUrl = None,
    json: options.Json = False,
) -> None:
    """Find circuits in the models that ship with the package, and say where they are.

    Runs that are in the store already are not computed again.

    Example: acdc demo
    """
    budget = options.memory_of(memory)
    note_wait("loading …")
    with stdout_kept_clean():
        from acdc_pipeline.models import list_zoo
        from acdc_pipeline.specs import find_sweep, find_task
        from acdc_pipeline.store import open_store

        spec = find_sweep(sweep)
        tasks = {name: find_task(name) for name in spec.tasks}
        cells = spec.cells(tasks, spec.model_refs(list_zoo()), "float32")
        results = open_store(store, mode="write")
        done, failures = _run_all(cells, results, device, budget)
    if json:
        from acdc_pipeline.cli.run_report import run_document

        print_json(
            {
                "store": results.url,
                "runs": [
                    {**run_document(record), "cached": cached, "path": _path(results, record)}
                    for record, cached in done
                ],
                "failed": failures,
            }
        )
    else:
        _show(results, [record for record, _ in done])
    if failures or not done:
        raise ExecutionFailed(
            f"{len(failures)} of {len(cells)} runs failed", fix="see the messages above"
        )


def _run_all(
    cells: tuple[Cell, ...], results: Store, device: str, memory: int | None
) -> tuple[list[tuple[RunRecord, bool]], list[dict[str, Any]]]:
    """Every run, one after the other; one that fails does not stop the rest."""
    from acdc_pipeline.cli.progress import listener
    from acdc_pipeline.execution import Worker, discover_into, plan_run

    worker = Worker(device=device, memory=memory)
    done: list[tuple[RunRecord, bool]] = []
    failures: list[dict[str, Any]] = []
    for index, cell in enumerate(cells, start=1):
        name = f"{cell.task.name} in {cell.model} at {cell.method.threshold:g}"
        try:
            run = plan_run(
                cell.task,
                cell.model,
                method=cell.method,
                prompts=cell.prompts,
                seed=cell.seed,
                dtype=cell.dtype,
            )
            record, cached = discover_into(results, run, cell.task, worker, listener())
        except AcdcError as error:
            note(told(error))
            failures.append({"run": name, "error": str(error)})
            continue
        assert record.circuit is not None
        state = "from the store" if cached else f"{record.wall_seconds:.1f} s"
        note(f"[{index}/{len(cells)}] {name}: {len(record.circuit)} edges, {state}")
        done.append((record, cached))
    return done, failures


def _show(results: Store, records: list[RunRecord]) -> None:
    from acdc_pipeline.cli.run_report import edge_counts, edges_text

    rows = [
        {
            "task": r.spec.task,
            "model": r.spec.model,
            "threshold": f"{r.spec.method.threshold:g}",
            "edges kept": edges_text(*edge_counts(r)),
            "KL": number(r.metrics.get("kl")),
            "accuracy": percent(r.metrics.get("accuracy")),
            "seconds": f"{r.wall_seconds:.1f}",
            "path": relative(_path(results, r)),
        }
        for r in records
    ]
    if not rows:
        return
    numbers = frozenset(("threshold", "KL", "accuracy", "seconds"))
    whole = frozenset(("task", "model", "edges kept"))
    console().print(table(rows, numbers=numbers, whole=whole))
    best = min(records, key=lambda r: (-r.metrics.get("accuracy", 0.0), len(r.circuit or ())))
    say(f"\nDraw one: acdc runs show {best.spec.run_id()[:8]}")
    say("All of them: acdc runs list")


def _path(results: Store, record: RunRecord) -> str:
    return results.path(record.spec.run_id())
