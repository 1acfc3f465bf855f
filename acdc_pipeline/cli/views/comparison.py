"""Comparisons: searches side by side, and the circuits of two runs or models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import print_facts, print_line
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.views import run_list
from acdc_pipeline.store.run_list import evaluation_part
from acdc_pipeline.text import NONE, format_number, list_first

if TYPE_CHECKING:
    from acdc_pipeline.graph.comparison import Overlap
    from acdc_pipeline.regression.pair import Pair
    from acdc_pipeline.store import Figures, RunRecord, RunSummary
    from acdc_pipeline.workflows.curves import SearchAreas

SEARCH_COLUMNS = (
    Column("task", "name"),
    Column("model", "name"),
    Column("method"),
    Column("searched by", rank=2),
    Column("measured in"),
    Column("ablation", rank=1),
    Column("prompts", "number", rank=1),
    Column("seed", "number", rank=1),
    Column("circuits", "number", rank=3),
    Column("CPR", "number"),
    Column("CMD", "number"),
    Column("above null", "number", rank=3),
    Column("stability", "number", rank=4),
)
PAIR_COLUMNS = (
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

MAX_EDGES_NAMED = 10


def search_row(search: SearchAreas, figures: Mapping[str, Figures]) -> dict[str, str]:
    """Return a search as a row of `SEARCH_COLUMNS`, those of its evaluation if any run has one."""
    run = search.run
    method = run.method.plain()
    own = figures.get(run.run_id())
    cells = run_list.evaluation_cells(own, method["metric"]) if figures else {}
    return {
        "task": run.task,
        "model": run.model,
        "method": run.method.name,
        "searched by": method["metric"],
        "measured in": search.metric,
        "ablation": method["ablation"],
        "prompts": str(run.prompts),
        "seed": str(run.seed),
        "circuits": str(search.circuits),
        **cells,
        "CPR": format_number(search.cpr),
        "CMD": format_number(search.cmd),
    }


def search_document(search: SearchAreas, figures: Figures | None) -> dict[str, Any]:
    """Return a search as JSON data."""
    return {
        "run_id": search.run.run_id(),
        **search.run.plain(),
        "circuits": search.circuits,
        "measured_in": search.metric,
        "cpr": search.cpr,
        "cmd": search.cmd,
        "problem": search.problem,
        **evaluation_part(figures),
    }


def searches_markdown(searches: Sequence[SearchAreas]) -> str:
    """Return a Markdown table of `CPR / CMD`: a row per task and model, a column per method.

    Several searches in one cell, such as those of other seeds, go one below the other. An en dash
    means no search, or one without a curve.
    """
    from acdc_pipeline.specs import METHODS

    methods = [name for name in METHODS if any(s.run.method.name == name for s in searches)]
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}
    for search in sorted(searches, key=lambda search: (search.run.task, search.run.model)):
        row = rows.setdefault((search.run.task, search.run.model.removeprefix("zoo:")), {})
        known = search.cpr is not None and search.cmd is not None
        areas = f"{search.cpr:.2f} / {search.cmd:.2f}" if known else NONE
        row.setdefault(search.run.method.name, []).append(areas)
    lines = [_markdown_line(["task", "model", *methods]), "|---" * (len(methods) + 2) + "|"]
    for (task, model), row in rows.items():
        areas = ["<br>".join(row.get(name, [NONE])) for name in methods]
        lines.append(_markdown_line([task, model, *areas]))
    return "\n".join(lines)


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def print_pair_of_runs(
    summaries: Sequence[RunSummary],
    records: Sequence[RunRecord],
    pair: Pair,
    figures: Mapping[str, Figures],
) -> None:
    """Print two runs, what their circuits share, and the strongest edges of each part."""
    known = {summary.run_id: summary for summary in summaries}
    rows = run_list.run_rows([known[record.spec.run_id()] for record in records], figures)
    sides = [{"": side, **row} for side, row in zip("AB", rows, strict=True)]
    print_table((Column(""), *run_list.COLUMNS), sides)
    print_line("")
    row = pair_row(pair)
    print_table(PAIR_COLUMNS, [{k: v for k, v in row.items() if k not in ("task", "method")}])
    if pair.edges is None:
        return
    first, second = records
    parts = (
        ("only A", first, pair.edges.only_a),
        ("both", first, pair.edges.both),
        ("only B", second, pair.edges.only_b),
    )
    strongest = {name: _strongest(record, edges) for name, record, edges in parts if edges}
    if strongest:  # two empty circuits have no edges to name
        print_line("\nThe strongest edges:\n")
        print_facts(strongest)


def pair_row(pair: Pair) -> dict[str, str]:
    """Return a comparison of two runs as a row of `PAIR_COLUMNS`."""
    edges, roles = pair.edges, pair.roles
    counts = [NONE] * 3 if edges is None else map(str, edges.counts)
    both, one = (), ()
    if roles is not None:
        both = roles.both or ["none"]
        one = [f"A: {r}" for r in roles.only_a] + [f"B: {r}" for r in roles.only_b] or ["none"]
    return {
        "task": pair.cell.task,
        "method": pair.cell.method_text,
        **dict(zip(("only A", "both", "only B"), counts, strict=True)),
        "Jaccard": NONE if edges is None else f"{edges.jaccard:.3f}",
        "by role": NONE if pair.role_edges is None else f"{pair.role_edges.jaccard:.3f}",
        "roles of both": ", ".join(both) or NONE,
        "roles of one": ", ".join(one) or NONE,
    }


def pair_document(pair: Pair) -> dict[str, Any]:
    """Return a comparison of two runs as JSON data."""
    return {
        "name": str(pair.cell),
        "cell": pair.cell.plain(),
        "runs": list(pair.runs),
        "edges": _overlap_document(pair.edges),
        "roles": _overlap_document(pair.roles),
        "role_edges": _overlap_document(pair.role_edges),
    }


def draw_pairs(first: str, second: str, pairs: Sequence[Pair]) -> str:
    """Draw what the circuits of two runs or models, named `first` and `second`, share."""
    from acdc_pipeline.plotting.overlap import OverlapRow, draw_overlap

    rows = [
        OverlapRow(
            pair.label,
            pair.edges.counts if pair.edges else None,
            pair.role_edges.counts if pair.role_edges else None,
        )
        for pair in pairs
    ]
    return draw_overlap(first, second, rows)


def _strongest(record: RunRecord, edges: Sequence[str]) -> str:
    """Name those of `edges`, which the circuit of `record` keeps, that its method ranks first."""
    from acdc_pipeline.specs import circuit_method

    assert record.circuit is not None
    wanted, circuit = set(edges), record.circuit
    best = circuit.strongest(len(circuit), circuit_method(record.spec.method).ranking)
    names = [name for edge in best if (name := str(edge)) in wanted]
    return list_first(names, MAX_EDGES_NAMED)


def _overlap_document(overlap: Overlap[str] | None) -> dict[str, Any] | None:
    return None if overlap is None else asdict(overlap) | {"jaccard": overlap.jaccard}
