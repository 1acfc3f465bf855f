"""`acdc runs compare`: two runs, or two models, by what their circuits share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.terminal.files import STDOUT, check_new, file_for, write_bytes
from acdc_pipeline.cli.terminal.output import note, print_facts, print_json, say
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.words import counted
from acdc_pipeline.cli.views.evaluated import figures_by_run
from acdc_pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.regression.pair import Overlap, Pair, Roles
    from acdc_pipeline.store import Figures, RunRecord, RunSummary, Store

COLUMNS = (
    Column("task", "name"),
    Column("method"),
    Column("only A", "number"),
    Column("both", "number"),
    Column("only B", "number"),
    Column("Jaccard", "number"),
    Column("by role", "number"),
    Column("roles of both", "prose", rank=1),
    Column("roles of one", "prose", rank=2),
)

NAMED = 10
"""How many edges of each side are named."""


def compare(
    first: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", autocompletion=completion.runs, help="A: a run id, or its first digits."
        ),
    ] = None,
    second: Annotated[
        str | None,
        typer.Argument(metavar="RUN", autocompletion=completion.runs, help="B, likewise."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="In place of runs, given twice: A, then B, as runs name them; MODEL@DIGITS for "
            "one revision of several.",
        ),
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option(parser=file_for("--svg"), metavar="FILE", help="Draw what they share."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Say which edges and which kinds of head the circuits of two runs, or two models, share.

    Of two models, runs are held against one another that ask the same of both: task, method,
    prompts, seed. Roles come from profiles in the store. Models of different shape are compared by
    role alone.

    \b
    Examples:
      acdc runs compare 3f2a91c0 90cc71aa
      acdc runs compare --model zoo:gpt2-4l-s0 --model zoo:gpt2-4l-s0-edited
      acdc runs compare --model dir:out/model@3f2a --model dir:out/model@90cc --svg shared.svg
    """
    from acdc_pipeline.cli.views.run import evaluation_part
    from acdc_pipeline.plotting.overlap import OverlapRow, draw_overlap
    from acdc_pipeline.regression.pair import runs_of

    runs = [run for run in (first, second) if run is not None]
    models = model or []
    if (len(runs), len(models)) not in ((2, 0), (0, 2)):
        given = " and ".join((counted(len(runs), "run"), counted(len(models), "model")))
        raise InvalidInput(
            f"{given} to compare",
            where="runs compare",
            allowed="two runs, RUN RUN; or two models, --model A --model B",
        )
    if json and svg == STDOUT:
        raise InvalidInput("--svg - and --json exclude one another", where="runs compare")
    if svg is not None and svg != STDOUT and not force:
        check_new(svg)
    results = shared.store_for_reading(store)
    records = [_with_circuit(results, run) for run in runs]
    summaries = results.summaries()
    sides = (
        [_beside(summaries, record) for record in records]
        if records
        else [runs_of(summaries, text) for text in models]
    )
    roles = [_roles(results, side) for side in sides]
    pairs = _pairs_of_runs(records, roles) if records else _pairs_of_models(results, sides, roles)
    names = [_name(record) for record in records] or models
    if svg is not None:
        bars = [
            OverlapRow(
                pair.label,
                pair.edges.counts if pair.edges else None,
                pair.role_edges.counts if pair.role_edges else None,
            )
            for pair in pairs
        ]
        write_bytes(svg, draw_overlap(names[0], names[1], bars).encode())
        if svg == STDOUT:
            return
    ids = [record.spec.run_id() for record in records]
    evaluated = figures_by_run(results, ids) if records else {}
    if json:
        print_json(
            {
                "store": results.url,
                "runs": [{"run_id": i, **evaluation_part(evaluated.get(i))} for i in ids],
                "models": [
                    {"model": side[0].spec.model, "revision": side[0].spec.model_revision}
                    for side in sides
                ],
                "same_shape": all(pair.edges is not None for pair in pairs),
                "pairs": [_document(pair) for pair in pairs],
                "drawing": None if svg is None else str(svg),
            }
        )
        return
    if records:
        _print_runs(summaries, records, evaluated)
    else:
        say(f"A {models[0]}\nB {models[1]}\n")
    rows = [_row(pair) for pair in pairs]
    asked = ("task", "method") if records else ()
    print_table(COLUMNS, [{k: v for k, v in row.items() if k not in asked} for row in rows])
    if records:
        _print_edges(records, pairs[0])
    if any(pair.edges is None for pair in pairs):
        note("\nnote: the models differ in shape: they are compared by role alone", indent="      ")
    unknown = {s[0].spec.model for s, known in zip(sides, roles, strict=True) if known is None}
    for ref in sorted(unknown):
        note(f"note: no profile of {ref} in the store, so no roles: acdc heads {ref}")


def _with_circuit(results: Store, prefix: str) -> RunRecord:
    record = results.get(results.resolve(prefix))
    if record.circuit is None:
        raise InvalidInput("this run found no circuit", where=record.spec.run_id()[:8])
    return record


def _beside(summaries: Sequence[RunSummary], record: RunRecord) -> list[RunSummary]:
    """The runs in the model of `record`, at its revision."""
    model = (record.spec.model, record.spec.model_revision)
    return [s for s in summaries if (s.spec.model, s.spec.model_revision) == model]


def _name(record: RunRecord) -> str:
    from acdc_pipeline.cli.views.run_names import run_name

    return f"{record.spec.run_id()[:8]}, {run_name(record.spec)}"


def _pairs_of_runs(records: Sequence[RunRecord], roles: Sequence[Roles | None]) -> list[Pair]:
    from acdc_pipeline.regression.pair import compared

    return [compared(records[0], records[1], roles[0], roles[1])]


def _pairs_of_models(
    results: Store, sides: Sequence[list[RunSummary]], roles: Sequence[Roles | None]
) -> list[Pair]:
    from acdc_pipeline.regression.pair import compared, questions_of

    first, second = (questions_of(side) for side in sides)
    pairs = [
        compared(results.get(first[q].run_id), results.get(second[q].run_id), *roles)
        for q in first
        if q in second
    ]
    if not pairs:
        raise InvalidInput(
            "no question was asked of both",
            where=results.url,
            fix="run a sweep that names both models, or name two runs: acdc runs compare RUN RUN",
        )
    return sorted(pairs, key=lambda pair: (pair.cell.task, pair.cell.stem))


def _roles(results: Store, side: list[RunSummary]) -> Roles | None:
    from acdc_pipeline.regression.pair import roles_in

    profiles = [s for s in side if s.spec.method.name == "profile"]
    return roles_in(results.get(s.run_id) for s in profiles)


def _print_runs(
    summaries: Sequence[RunSummary],
    records: Sequence[RunRecord],
    evaluated: Mapping[str, Figures],
) -> None:
    from acdc_pipeline.cli.views import run_list as run_columns

    known = {summary.run_id: summary for summary in summaries}
    both = [known[record.spec.run_id()] for record in records]
    rows = run_columns.rows_of(both, evaluated)
    sided = [{"": side, **row} for side, row in zip("AB", rows, strict=True)]
    print_table((Column(""), *run_columns.COLUMNS), sided)
    say("")


def _print_edges(records: Sequence[RunRecord], pair: Pair) -> None:
    if pair.edges is None:
        return
    parts = ((0, "only A", pair.edges.only_a), (0, "both", pair.edges.both))
    named = {
        what: _named(circuit, edges)
        for at, what, edges in (*parts, (1, "only B", pair.edges.only_b))
        if edges and (circuit := records[at].circuit) is not None
    }
    say("\nThe strongest edges:\n")
    print_facts(named)


def _named(circuit: Circuit, edges: Sequence[str]) -> str:
    strongest = [str(edge) for edge in circuit.strongest(len(circuit)) if str(edge) in set(edges)]
    more = f" and {len(strongest) - NAMED} more" if len(strongest) > NAMED else ""
    return ", ".join(strongest[:NAMED]) + more


def _row(pair: Pair) -> dict[str, str]:
    edges, roles = pair.edges, pair.roles
    return {
        "task": pair.cell.task,
        "method": pair.cell.method_text,
        "only A": "–" if edges is None else str(len(edges.only_a)),
        "both": "–" if edges is None else str(len(edges.both)),
        "only B": "–" if edges is None else str(len(edges.only_b)),
        "Jaccard": "–" if edges is None else f"{edges.jaccard:.3f}",
        "by role": "–" if pair.role_edges is None else f"{pair.role_edges.jaccard:.3f}",
        "roles of both": "–" if roles is None else ", ".join(roles.both) or "none",
        "roles of one": "–"
        if roles is None
        else ", ".join([*(f"A: {r}" for r in roles.only_a), *(f"B: {r}" for r in roles.only_b)])
        or "none",
    }


def _document(pair: Pair) -> dict[str, Any]:
    return {
        "name": str(pair.cell),
        "cell": pair.cell.plain(),
        "runs": list(pair.runs),
        "edges": _overlap(pair.edges),
        "roles": _overlap(pair.roles),
        "role_edges": _overlap(pair.role_edges),
    }


def _overlap(overlap: Overlap | None) -> dict[str, Any] | None:
    if overlap is None:
        return None
    return {
        "only_a": list(overlap.only_a),
        "both": list(overlap.both),
        "only_b": list(overlap.only_b),
        "jaccard": overlap.jaccard,
    }
