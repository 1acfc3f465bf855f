"""`acdc runs`: what is in the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli import options
from acdc_pipeline.cli.export import FORMATS, exported
from acdc_pipeline.cli.files import write_bytes
from acdc_pipeline.cli.groups import Group
from acdc_pipeline.cli.output import (
    console,
    facts,
    note,
    number,
    percent,
    print_json,
    relative,
    say,
    table,
)
from acdc_pipeline.errors import DamagedRun, InvalidInput, UnknownName

if TYPE_CHECKING:
    from acdc_pipeline.store import Store

app = typer.Typer(
    cls=Group, no_args_is_help=True, rich_markup_mode=None, help="What is in the store."
)


@app.command("list")
def list_runs(
    task: Annotated[str | None, typer.Option(help="Only runs of this task.")] = None,
    model: Annotated[str | None, typer.Option(help="Only runs in this model.")] = None,
    store: options.StoreUrl = None,
    json: options.Json = False,
) -> None:
    """List the runs of a store. Damaged ones are named on stderr and left out.

    Example: acdc runs list --task ioi
    """
    from acdc_pipeline.cli.run_report import edges_text, summary_document

    results = options.store_for_reading(store)
    found = results.summaries()
    damaged = _damage_of(results, {s.run_id for s in found})
    shown = [s for s in found if task in (None, s.spec.task) and model in (None, s.spec.model)]
    shown.sort(key=lambda s: (s.spec.task, s.spec.model, -s.spec.method.threshold, s.run_id))
    if json:
        print_json(
            {
                "store": results.url,
                "runs": [summary_document(summary) for summary in shown],
                "damaged": [{"run_id": run_id, **_plain(e)} for run_id, e in damaged.items()],
            }
        )
    elif shown:
        rows = [
            {
                "run": s.run_id[:8],
                "task": s.spec.task,
                "model": s.spec.model,
                "method": f"{s.spec.method.name} {s.spec.method.threshold:g}",
                "seed": str(s.spec.seed),
                "edges kept": edges_text(s.edges_kept, s.edges_total),
                "KL": number(s.metrics.get("kl")),
                "accuracy": percent(s.metrics.get("accuracy")),
                "seconds": f"{s.wall_seconds:.1f}",
            }
            for s in shown
        ]
        numbers = frozenset(("seed", "KL", "accuracy", "seconds"))
        console().print(
            table(rows, numbers=numbers, whole=frozenset(("run", "method", "edges kept")))
        )
    else:
        others = f" of {len(found)} fits" if found else " yet"
        note(f"no run{others} in {relative(results.url)}")
    for error in damaged.values():
        note(f"acdc: warning: {error}".replace("\n", "\n      "))


@app.command("show")
def show_run(
    run: options.RunPrefix,
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to draw. Default: ./circuit-RUN.svg."),
    ] = None,
    store: options.StoreUrl = None,
    json: options.Json = False,
) -> None:
    """Show one run, and draw its circuit as an SVG file (which is not opened).

    Example: acdc runs show 3f2a91c0
    """
    from acdc_pipeline.cli.drawing import draw
    from acdc_pipeline.cli.run_report import run_document, run_facts

    results = options.store_for_reading(store)
    run_id = results.resolve(run)
    record = results.get(run_id)
    drawn = None
    if record.circuit is not None:
        drawn = svg or Path(f"circuit-{run_id[:8]}.svg")
        write_bytes(drawn, draw(record, record.circuit).encode())
    path = results.path(run_id)
    if json:
        drawing = None if drawn is None else str(drawn)
        document = run_document(record) | {"store": results.url, "path": path, "drawing": drawing}
        edges = [str(e) for e in record.circuit.sorted_edges] if record.circuit else None
        print_json({**document, "edges": edges})
        return
    lines = run_facts(record) | {"stored": relative(path)}
    console().print(facts(lines | ({"drawing": str(drawn)} if drawn else {})))
    if record.circuit is not None and len(record.circuit) <= 40:
        say("")
        for edge in record.circuit.sorted_edges:
            say(f"  {edge}")


@app.command("export")
def export_run(
    run: options.RunPrefix,
    format: Annotated[
        str,
        typer.Option(metavar="|".join(FORMATS), help="node-link and mib-json can be read back."),
    ] = "node-link",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: stdout (Parquet only into a pipe)."),
    ] = None,
    store: options.StoreUrl = None,
) -> None:
    """Write the circuit of a run in a format that other tools read.

    Example: acdc runs export 3f2a91c0 --format graphml --out circuit.graphml
    """
    if format not in FORMATS:
        raise UnknownName.among("format", format, FORMATS)
    if format == "parquet" and out is None and sys.stdout.isatty():
        raise InvalidInput(
            "Parquet is not text", where="runs export", fix="name a file with --out edges.parquet"
        )
    results = options.store_for_reading(store)
    run_id = results.resolve(run)
    record = results.get(run_id)
    content = (
        results.read_file(run_id, "edges.parquet")
        if format == "parquet"
        else exported(record, format).encode()
    )
    if out is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    write_bytes(out, content)
    note(f"wrote {out}")


def _damage_of(results: Store, whole: set[str]) -> dict[str, DamagedRun]:
    """What is wrong with each run that a listing had to leave out."""
    damaged: dict[str, DamagedRun] = {}
    for run_id in results.run_ids():
        if run_id not in whole:
            try:
                results.get(run_id)
            except DamagedRun as error:
                damaged[run_id] = error
    return damaged


def _plain(error: DamagedRun) -> dict[str, str | None]:
    return {"problem": error.problem, "field": error.field, "fix": error.fix}
