"""`acdc demo`: circuits of several tasks in the models that ship with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli import options
from acdc_pipeline.cli.faults import told
from acdc_pipeline.cli.output import note, print_json, say, stdout_kept_clean
from acdc_pipeline.cli.progress import Bar, Lines, shown
from acdc_pipeline.cli.tables import Column, print_table
from acdc_pipeline.cli.words import counted, relative
from acdc_pipeline.errors import AcdcError, ExecutionFailed

if TYPE_CHECKING:
    from acdc_pipeline.specs import Cell
    from acdc_pipeline.store import RunRecord, Store

COLUMNS = (
    Column("run"),
    Column("task", "name"),
    Column("model", "name"),
    Column("threshold", "number"),
    Column("edges kept", rank=1),
    Column("share", "number", rank=3),
    Column("KL", "number"),
    Column("accuracy", "number", rank=2),
    Column("seconds", "number", rank=4),
)


def demo(
    context: typer.Context,
    sweep: Annotated[
        str, typer.Option(metavar="SWEEP", help="A sweep by name, or its .yaml file.")
    ] = "demo",
    device: options.Device = "auto",
    memory: options.Memory = None,  # noqa: ARG001  (read from the context)
    threads: options.Threads = None,
    store: options.StoreUrl = None,
    json: options.Json = False,
) -> None:
    """Find circuits in the models that ship with the package, and say where they are.

    Runs that are in the store already are not computed again.

    Example: acdc demo
    """
    budget = options.memory_of(context)
    with stdout_kept_clean(), shown() as progress:
        progress.wait("loading the models")
        from acdc_pipeline.models import list_zoo
        from acdc_pipeline.specs import find_sweep, find_task
        from acdc_pipeline.store import open_store

        options.use_threads(threads)
        spec = find_sweep(sweep)
        tasks = {name: find_task(name) for name in spec.tasks}
        cells = spec.cells(tasks, spec.model_refs(list_zoo()), "float32")
        results = open_store(store, mode="write")
        done, failures = _run_all(cells, results, device, budget, progress)
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
        _show(results, [record for record, _ in done], options.same_store(context))
    if failures or not done:
        raise ExecutionFailed(
            f"{len(failures)} of {len(cells)} runs failed", fix="see the messages above"
        )


def _run_all(
    cells: tuple[Cell, ...],
    results: Store,
    device: str,
    memory: int | None,
    progress: Bar | Lines,
) -> tuple[list[tuple[RunRecord, bool]], list[dict[str, Any]]]:
    """Every run, one after the other; one that fails does not stop the rest."""
    from acdc_pipeline.execution import Worker, discover_into, plan_run

    worker = Worker(device=device, memory=memory)
    done: list[tuple[RunRecord, bool]] = []
    failures: list[dict[str, Any]] = []
    for index, cell in enumerate(cells, start=1):
        name = f"{cell.task.name} in {cell.model} at {cell.method.threshold:g}"
        progress.prefix = f"[{index}/{len(cells)}] "
        progress.wait(name)
        try:
            run = plan_run(
                cell.task,
                cell.model,
                method=cell.method,
                prompts=cell.prompts,
                seed=cell.seed,
                dtype=cell.dtype,
            )
            record, cached = discover_into(results, run, cell.task, worker, progress)
        except AcdcError as error:
            note(told(error))
            failures.append({"run": name, "error": str(error)})
            continue
        assert record.circuit is not None
        state = "from the store" if cached else f"{record.wall_seconds:.1f} s"
        note(f"[{index}/{len(cells)}] {name}: {counted(len(record.circuit), 'edge')}, {state}")
        done.append((record, cached))
    return done, failures


def _show(results: Store, records: list[RunRecord], same_store: str) -> None:
    from acdc_pipeline.cli.run_columns import result_cells
    from acdc_pipeline.cli.run_report import edge_counts

    if not records:
        return
    rows = [
        {
            "run": r.spec.run_id()[:8],
            "task": r.spec.task,
            "model": r.spec.model,
            "threshold": f"{r.spec.method.threshold:g}",
            **result_cells(*edge_counts(r), r.metrics, r.wall_seconds),
        }
        for r in records
    ]
    print_table(COLUMNS, rows)
    best = min(records, key=lambda r: (-r.metrics.get("accuracy", 0.0), len(r.circuit or ())))
    folder = _path(results, best).removesuffix(f"/{best.spec.run_id()}")
    say(f"\nStored in {relative(folder)}/, a folder for each run.")
    say(f"\nDraw one: acdc runs show {best.spec.run_id()[:8]}{same_store}")
    say(f"All of them: acdc runs list{same_store}")


def _path(results: Store, record: RunRecord) -> str:
    return results.path(record.spec.run_id())
