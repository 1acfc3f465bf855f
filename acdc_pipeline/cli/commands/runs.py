"""`acdc runs`: list, show, export and clean the runs of a store; `compare` has its own file."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.app import App
from acdc_pipeline.cli.commands import compare
from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.options.parsers import integer, output_file
from acdc_pipeline.cli.terminal import output
from acdc_pipeline.cli.terminal.files import (
    STDOUT,
    check_drawing,
    check_new,
    write_drawing,
)
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.streams import flush_stdout, write_stdout
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import format_age, format_size, relative_path
from acdc_pipeline.cli.views.consensus import edge_columns
from acdc_pipeline.cli.views.run_list import (
    load_figures,
    print_failed,
    print_failed_json,
    suggest_filters,
)
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.files import write_bytes
from acdc_pipeline.text import NONE, format_number, pluralize
from acdc_pipeline.workflows.export import (
    BINARY,
    BY_SUFFIX,
    FORMATS,
    export_bytes,
    export_format,
    lost_positions,
)

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.graph.consensus import Consensus
    from acdc_pipeline.specs import CircuitMethod, RunSpec
    from acdc_pipeline.store import Leftover, Store

app = App(help="Stored runs.")

LEFTOVER_COLUMNS = (
    Column("path", "name"),
    Column("what", "prose", rank=2),
    Column("age", rank=1),
    Column("size", "number"),
)

MAX_EDGES_NAMED = 10

MAX_LISTED = 1_000_000_000
"""The maximum of `--limit`."""


@app.command("list")
def list_runs(
    context: typer.Context,
    task: shared.OfTask = None,
    model: shared.OfModel = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="List the runs that failed, and why, instead.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(**integer("--limit", 1, MAX_LISTED), help="List at most N runs, the first."),
    ] = None,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """List the runs of a store. Damaged ones are named on stderr and left out.

    Runs are sorted by task, model and method. Settings such as prompts, seed and metric have a
    column if the listed runs differ in them, and evaluations if any of the runs has one. A dash
    means not measured.

    Example: acdc runs list --task ioi --limit 50
    """
    from acdc_pipeline.cli.views.run_list import COLUMNS, run_rows
    from acdc_pipeline.store.index import Wanted, equal
    from acdc_pipeline.store.run_list import sort_runs, summary_document

    results = shared.open_store(context)

    def fits(spec: RunSpec) -> bool:
        return task in (None, spec.task) and model in (None, spec.model)

    if failed:
        (print_failed_json if json else print_failed)(results, fits)
        return
    found = results.find(Wanted(where=equal(task=task, model=model), limit=limit))
    shown = sort_runs(found.summaries)
    figures = load_figures(results, [s.run_id for s in shown])
    if json:
        output.print_json(
            {
                "store": results.url,
                "runs": [summary_document(s, figures.get(s.run_id)) for s in shown],
                "damaged": [
                    {"run_id": run_id, "problem": e.problem, "field": e.field, "fix": e.fix}
                    for run_id, e in found.damaged.items()
                ],
            }
        )
    elif shown:
        print_table(COLUMNS, run_rows(shown, figures))
    where = relative_path(results.url)
    if not found.stored:
        output.print_note(
            f"no run yet in {where}" if results.exists else f"the store {where} does not exist yet"
        )
    elif not shown:
        hint = suggest_filters(task, model, found)
        output.print_note(f"none of {pluralize(found.stored, 'run')} in {where} fits{hint}")
    elif len(shown) < found.fitting:
        fitting = pluralize(found.fitting, "run")
        output.print_note(f"{len(shown)} of {fitting} listed; a larger --limit lists more")
    output.print_warnings(found.damaged.values())
    if failures := results.failures():
        output.print_note(f"{pluralize(len(failures), 'run')} failed: --failed shows why")


@app.command("show")
def show_run(
    context: typer.Context,
    run: shared.RunPrefix,
    svg: Annotated[
        Path | None,
        typer.Option(
            **output_file("--svg"),
            help="Draw the circuit into this file; - for stdout, and nothing else there.",
        ),
    ] = None,
    force: shared.Force = False,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Show one run, its strongest edges and its evaluation; with --svg, draw its circuit.

    \b
    Examples:
      acdc runs show 3f2a91c0
      acdc runs show 3f2a91c0 --svg circuit.svg
    """
    from acdc_pipeline.cli.views.evaluation import measured_facts
    from acdc_pipeline.cli.views.run import run_document, run_facts
    from acdc_pipeline.specs import circuit_method
    from acdc_pipeline.store.run_list import evaluation_part
    from acdc_pipeline.workflows.export import draw_run

    check_drawing(svg, force=force, json=json, command="runs show")
    results = shared.open_store(context)
    run_id = results.resolve(run)
    record = results.get(run_id)
    if svg is not None:
        if record.circuit is None:
            raise InvalidInput("this run has no circuit to draw", where=run_id[:8], field="--svg")
        if write_drawing(svg, draw_run(record, record.circuit)):
            return
    path = results.path(run_id)
    figures = load_figures(results, [run_id]).get(run_id)
    if json:
        circuit = record.circuit
        place = {"store": results.url, "path": path, "drawing": svg and str(svg)}
        edges = None if circuit is None else [str(edge) for edge in circuit.sorted_edges]
        document = run_document(record) | evaluation_part(figures) | place
        output.print_json({**document, "edges": edges})
        return
    same_run = f"{run_id[:8]}{shared.repeat_option(context, 'store')}"
    facts = run_facts(record)
    if record.circuit is not None:
        unknown = {"evaluation": f"{NONE} (acdc evaluate {same_run})"}
        facts |= unknown if figures is None else measured_facts(figures.document)
    if warnings := record.details.get("warnings"):
        facts["warning"] = "\n".join(warnings)
    if retries := record.details.get("retries"):
        facts["retries"] = "\n".join(map(_described_retry, retries))
    if lost := record.details.get("lost_workers"):
        facts["lost"] = "\n".join(lost)
    facts["stored"] = relative_path(path)
    if svg is not None:
        facts["drawing"] = str(svg)
    output.print_facts(facts)
    if record.circuit:
        more = f"acdc runs export {same_run}"
        method = circuit_method(record.spec.method)
        _print_strongest(record.circuit, method, more, record.consensus)


def _described_retry(retry: Mapping[str, Any]) -> str:
    """Return what was changed for another attempt at a run."""
    changed = [f"{name}: {value}" for name, value in retry.get("larger", {}).items()]
    again = [f"larger workers ({', '.join(changed)})"] if changed else []
    if "memory" in retry:
        again.append(f"a budget of {retry['memory'] / 2**20:,.0f} MiB")
    elif "halvings" in retry:
        again.append(f"1/{2 ** retry['halvings']} of the budget")
    return f"{retry['cause']}: again with {' and '.join(again)}"


def _print_strongest(
    circuit: Circuit, method: CircuitMethod, more: str, consensus: Consensus | None
) -> None:
    by = "|score|" if method.ranking == "magnitude" else "score"
    output.print_line(f"\nEdges by {by} ({method.score_meaning}):\n")
    strongest = circuit.strongest(MAX_EDGES_NAMED, method.ranking)
    columns = [Column("edge"), Column("score", "number")]
    rows = [
        {"edge": str(edge), "score": format_number(circuit.scores.get(edge))} for edge in strongest
    ]
    if consensus is not None:
        columns[1:] = [Column("kept"), Column("interval", rank=1), Column("role")]
        rows = [{"edge": str(edge)} | edge_columns(consensus, edge) for edge in strongest]
    print_table(tuple(columns), rows)
    if len(circuit) > MAX_EDGES_NAMED:
        output.print_line(f"… and {len(circuit) - MAX_EDGES_NAMED} more, see {more}")


@app.command("export")
def export_run(
    context: typer.Context,
    run: shared.RunPrefix,
    format: Annotated[
        str | None,
        typer.Option(
            **completion.choice("|".join(FORMATS)),
            help="Default: by the ending of FILE, else node-link. `evaluate` reads node-link, "
            "mib-json, eap-ig-pt and auto-circuit.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            **output_file("--out"),
            help="Default: stdout, also written as - (Parquet and .pt only into a pipe).",
        ),
    ] = None,
    force: shared.Force = False,
    store: shared.StoreUrl = None,
) -> None:
    """Export the circuit of a run in a format that other tools read.

    Example: acdc runs export 3f2a91c0 --out circuit.graphml
    """
    out = None if out == STDOUT else out
    form = export_format(format, out, written=shared.option_name)
    if out is not None and not force:
        check_new(out)
    if form in BINARY and out is None and sys.stdout.isatty():
        suffix = next(suffix for suffix, names in BY_SUFFIX.items() if form in names)
        name = "Parquet" if form == "parquet" else form
        fix = f"name a file with --out edges{suffix}"
        raise InvalidInput(f"{name} is not text", where="runs export", fix=fix)
    results = shared.open_store(context)
    run_id = results.resolve(run)
    record = results.get(run_id)
    if form == "parquet":
        content = results.read_file(run_id, "edges.parquet")
    else:
        content = export_bytes(record, form)
    if record.circuit is not None and (lost := lost_positions(record.circuit, form)):
        output.print_note(f"note: {lost}")
    if out is None:
        write_stdout(content)
        flush_stdout()
        return
    write_bytes(out, content)
    output.print_note(f"wrote {out} ({form})")


app.command("compare")(compare.compare_runs)


@app.command("clean")
def clean_store(
    context: typer.Context,
    older_than: Annotated[
        str,
        typer.Option(
            metavar="AGE",
            help="Age from which an unfinished attempt counts as abandoned, and a replaced damaged "
            "run is no longer kept: 90s, 30m, 12h, 7d. It must be longer than any run takes.",
        ),
    ] = "7d",
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove what is listed. Without it nothing changes.")
    ] = False,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """List what no run in a store needs; with --remove, remove it.

    Listed are attempts that died, lost a race or lost the server, damaged runs that were replaced,
    and evaluations of deleted runs. If another attempt committed the run, the age does not matter.
    Files in use by a running process of this machine stay.

    \b
    Examples:
      acdc runs clean
      acdc runs clean --store s3://bucket/runs --older-than 2d --remove
    """
    age = _seconds(older_than)
    with show_status("looking for leftovers"):
        results = shared.open_store(context)
        found = results.leftovers(older_than=age, now=time.time())
        if remove:
            for item in found:
                results.remove(item)
    if json:
        leftovers = [asdict(item) for item in found]
        output.print_json({"store": results.url, "leftovers": leftovers, "removed": remove})
        return
    if found:
        rows = [
            {
                "path": item.path,
                "what": item.why,
                "age": format_age(item.age),
                "size": format_size(item.size),
            }
            for item in found
        ]
        print_table(LEFTOVER_COLUMNS, rows)
    output.print_note(_summary(results, found, remove))


def _seconds(text: str) -> float:
    from acdc_pipeline.specs.profile import seconds_of

    try:
        return seconds_of(text)
    except InvalidInput as error:
        error.field = "--older-than"
        raise


def _summary(results: Store, found: list[Leftover], removed: bool) -> str:
    where = relative_path(results.url)
    if not found:
        return f"nothing to clean in {where}"
    what = f"{pluralize(len(found), 'leftover')} ({format_size(sum(item.size for item in found))})"
    if removed:
        return f"removed {what} from {where}"
    return f"{what} in {where}; nothing was removed: add --remove"
