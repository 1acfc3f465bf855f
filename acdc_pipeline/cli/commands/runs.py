"""`acdc runs`: what is in the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.app import App
from acdc_pipeline.cli.commands import compare, runs_clean
from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.options.parsers import file_parser
from acdc_pipeline.cli.terminal.files import STDOUT, check_new, write_bytes
from acdc_pipeline.cli.terminal.output import print_facts, print_json, print_line, print_note
from acdc_pipeline.cli.terminal.streams import flush_stdout, write_stdout
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import pluralize, relative_path
from acdc_pipeline.cli.views.run_list import (
    load_figures,
    print_failed,
    print_failed_json,
    suggest_filters,
)
from acdc_pipeline.errors import DamagedRun, InvalidInput
from acdc_pipeline.workflows.export import FORMATS, export_format, export_text

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.specs import RunSpec
    from acdc_pipeline.store import Store

app = App(help="What is in the store.")

STRONGEST = 10
"""How many edges `runs show` names."""


@app.command("list")
def list_runs(
    task: shared.OfTask = None,
    model: shared.OfModel = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="The runs that failed, and why, in place of the rest.")
    ] = False,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """List the runs of a store. Damaged ones are named on stderr and left out.

    Prompts, seed, metric and the like have a column where the listed runs differ in them; what
    `acdc evaluate` measured, where it measured any of them. A dash is what was not measured.

    Example: acdc runs list --task ioi
    """
    from acdc_pipeline.cli.views.run import size_order, summary_document
    from acdc_pipeline.cli.views.run_list import COLUMNS, run_rows

    results = shared.open_store(store)

    def fits(spec: RunSpec) -> bool:
        return task in (None, spec.task) and model in (None, spec.model)

    if failed:
        (print_failed_json if json else print_failed)(results, fits)
        return
    found = results.summaries()
    damaged = _damage_of(results, {s.run_id for s in found})
    shown = [s for s in found if fits(s.spec)]
    evaluated = load_figures(results, [s.run_id for s in shown])
    shown.sort(key=lambda s: (s.spec.task, s.spec.model, size_order(s.spec.method), s.run_id))
    if json:
        print_json(
            {
                "store": results.url,
                "runs": [summary_document(s, evaluated.get(s.run_id)) for s in shown],
                "damaged": [{"run_id": run_id, **_plain(e)} for run_id, e in damaged.items()],
            }
        )
    elif shown:
        print_table(COLUMNS, run_rows(shown, evaluated))
    if not found:
        print_note(_nothing_in(results))
    elif not shown:
        hint = suggest_filters(task, model, (summary.spec for summary in found))
        print_note(
            f"none of {pluralize(len(found), 'run')} in {relative_path(results.url)} fits{hint}"
        )
    for error in damaged.values():
        print_note(f"acdc: warning: {error}".replace("\n", "\n      "))
    if failures := results.failures():
        print_note(f"{pluralize(len(failures), 'run')} failed: --failed shows why")


def _nothing_in(results: Store) -> str:
    if not results.exists:
        return f"the store {relative_path(results.url)} does not exist yet"
    return f"no run yet in {relative_path(results.url)}"


@app.command("show")
def show_run(
    context: typer.Context,
    run: shared.RunPrefix,
    svg: Annotated[
        Path | None,
        typer.Option(
            parser=file_parser("--svg"),
            metavar="FILE",
            help="Where to draw; - for stdout, and nothing else there. Default: "
            "./circuit-RUN.svg, which is written anew each time.",
        ),
    ] = None,
    no_svg: Annotated[bool, typer.Option("--no-svg", help="Draw nothing, write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Show one run, with what `acdc evaluate` measured, and draw its circuit as an SVG file.

    Example: acdc runs show 3f2a91c0
    """
    from acdc_pipeline.cli.views.drawing import draw_run
    from acdc_pipeline.cli.views.run import (
        evaluation_facts_of_run,
        evaluation_part,
        run_document,
        run_facts,
        warning_facts,
    )
    from acdc_pipeline.specs import circuit_method

    if no_svg and svg is not None:
        raise InvalidInput("--svg and --no-svg exclude one another", where="runs show")
    if json and svg == STDOUT:
        raise InvalidInput("--svg - and --json exclude one another", where="runs show")
    if svg is not None and svg != STDOUT and not force:
        check_new(svg)
    results = shared.open_store(store)
    run_id = results.resolve(run)
    record = results.get(run_id)
    drawn = None
    if record.circuit is not None and svg == STDOUT:
        print_line(draw_run(record, record.circuit).rstrip("\n"))
        return
    if record.circuit is not None and not no_svg:
        drawn = svg or Path(f"circuit-{run_id[:8]}.svg")
        write_bytes(drawn, draw_run(record, record.circuit).encode())
    path = results.path(run_id)
    figures = load_figures(results, [run_id]).get(run_id)
    if json:
        drawing = None if drawn is None else str(drawn)
        document = (
            run_document(record)
            | evaluation_part(figures)
            | {"store": results.url, "path": path, "drawing": drawing}
        )
        edges = (
            [str(e) for e in record.circuit.sorted_edges] if record.circuit is not None else None
        )
        print_json({**document, "edges": edges})
        return
    again = f"acdc evaluate {run_id[:8]}{shared.repeat_option(context, 'store')}"
    lines = (
        run_facts(record) | evaluation_facts_of_run(record, figures, again) | warning_facts(record)
    )
    lines["stored"] = relative_path(path)
    print_facts(lines | ({"drawing": str(drawn)} if drawn else {}))
    if record.circuit:
        more = f"acdc runs export {run_id[:8]}{shared.repeat_option(context, 'store')}"
        meaning = circuit_method(record.spec.method).score_meaning
        _print_strongest(record.circuit, meaning, more)


def _print_strongest(circuit: Circuit, meaning: str, more: str) -> None:
    from acdc_pipeline.cli.views.run import strongest_edges

    print_line(f"\nEdges by score ({meaning}):\n")
    print_table((Column("edge"), Column("score", "number")), strongest_edges(circuit, STRONGEST))
    if len(circuit) > STRONGEST:
        print_line(f"… and {len(circuit) - STRONGEST} more, see {more}")


@app.command("export")
def export_run(
    run: shared.RunPrefix,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(FORMATS),
            autocompletion=completion.one_of("|".join(FORMATS)),
            help="Default: what the name of FILE says, else node-link. That and mib-json can be "
            "read back.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=file_parser("--out"),
            metavar="FILE",
            help="Default: stdout, which is - too (Parquet only into a pipe).",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    store: shared.StoreUrl = None,
) -> None:
    """Write the circuit of a run in a format that other tools read.

    Example: acdc runs export 3f2a91c0 --out circuit.graphml
    """
    out = None if out == STDOUT else out
    form = export_format(format, out)
    if out is not None and not force:
        check_new(out)
    if form == "parquet" and out is None and sys.stdout.isatty():
        raise InvalidInput(
            "Parquet is not text", where="runs export", fix="name a file with --out edges.parquet"
        )
    results = shared.open_store(store)
    run_id = results.resolve(run)
    record = results.get(run_id)
    if form == "parquet":
        content = results.read_file(run_id, "edges.parquet")
    elif form == "svg" and record.circuit is not None:
        from acdc_pipeline.cli.views.drawing import draw_run

        content = draw_run(record, record.circuit).encode()
    else:
        content = export_text(record, form).encode()
    if out is None:
        write_stdout(content)
        flush_stdout()
        return
    write_bytes(out, content)
    print_note(f"wrote {out} ({form})")


app.command("compare")(compare.compare_runs)
app.command("clean")(runs_clean.clean)


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
