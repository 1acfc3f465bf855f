"""Comparisons: searches side by side, and the circuits of two runs or models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

from acdc_pipeline.cli.terminal.output import print_facts, print_line
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.views import run_list
from acdc_pipeline.store.run_list import evaluation_part
from acdc_pipeline.text import NONE, format_estimate, list_first

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.graph.circuit import Rank
    from acdc_pipeline.graph.comparison import Overlap
    from acdc_pipeline.regression.pair import Pair
    from acdc_pipeline.specs import RunSpec
    from acdc_pipeline.store import Figures, RunRecord, RunSummary
    from acdc_pipeline.workflows.search_areas import SearchAreas

_SHOWN = ("prompts", "seed", "metric", "ablation")

SEARCH_COLUMNS = (
    Column("task", "name"),
    Column("model", "name"),
    Column("method"),
    Column("searched by", rank=2),
    Column("measured in"),
    Column("ablation", rank=1),
    Column("prompts", "number", rank=1),
    Column("seed", "number", rank=1),
    *(column for column in run_list.SETTINGS if column.name not in _SHOWN),
    Column("circuits", "number", rank=3),
    Column("edges", "number", rank=2),
    Column("pairs", "number", rank=2),
    Column("place", "number"),
    Column("CMD", "number"),
    Column("CPR", "number", rank=1),
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
    Column("pairs", "number", rank=2),
    Column("by role", "number"),
    Column("roles of both", "prose", rank=1),
    Column("roles of one", "prose", rank=2),
)

SPAN_COLUMNS = (
    Column("span", "name"),
    *(Column(name, "number") for name in ("only A", "both", "only B", "Jaccard")),
)

MAX_EDGES_NAMED = 10


def search_rows(
    searches: Sequence[SearchAreas], figures: Mapping[str, Figures]
) -> list[dict[str, str]]:
    """Return searches as rows of `SEARCH_COLUMNS`.

    The columns of evaluations are there if any run has one, and those of further settings if two
    searches differ in them.

    Args:
        figures: by the id of the largest run of a search.
    """
    from acdc_pipeline.workflows.search_areas import places

    settings = run_list.differing_settings([search.run for search in searches])
    return [
        {
            **differing,
            **_search_cells(search, figures),
            "place": NONE if place is None else str(place),
        }
        for search, differing, place in zip(searches, settings, places(searches), strict=True)
    ]


def _search_cells(search: SearchAreas, figures: Mapping[str, Figures]) -> dict[str, str]:
    run = search.run
    method = run.method.plain()
    own = figures.get(run.run_id())
    cells = run_list.evaluation_cells(own, method["metric"]) if figures else {}
    return {
        "task": run.task,
        "model": run.model,
        "method": _search_method(run),
        "searched by": method["metric"],
        "measured in": search.metric or NONE,
        "ablation": method["ablation"],
        "prompts": str(run.prompts),
        "seed": str(run.seed),
        "circuits": str(len(search.runs)),
        "edges": str(search.runs[-1].edges_kept),
        "pairs": NONE if search.pairs is None else str(search.pairs),
        **cells,
        "CMD": format_estimate(search.cmd, search.cmd_interval),
        "CPR": format_estimate(search.cpr, search.cpr_interval),
    }


def search_documents(
    searches: Sequence[SearchAreas], figures: Mapping[str, Figures]
) -> list[dict[str, Any]]:
    """Return searches as JSON data; `figures` are by the id of the largest run of a search."""
    from acdc_pipeline.workflows.search_areas import places

    return [
        _search_document(search, place, figures.get(search.run.run_id()))
        for search, place in zip(searches, places(searches), strict=True)
    ]


def _search_document(
    search: SearchAreas, place: int | None, figures: Figures | None
) -> dict[str, Any]:
    failed = search.state == "failed"
    return {
        "run_id": search.run.run_id(),
        **search.run.plain(),
        "circuits": len(search.runs),
        "edges_kept": search.runs[-1].edges_kept,
        "edges_total": search.runs[-1].edges_total,
        "pairs_kept": search.pairs,
        "measured_in": search.metric,
        "place": place,
        "cmd": search.cmd,
        "cpr": search.cpr,
        "cmd_interval": search.cmd_interval,
        "cpr_interval": search.cpr_interval,
        "problem": search.reason if failed else None,
        "reason": None if failed else search.reason,
        **evaluation_part(figures),
    }


def searches_markdown(searches: Sequence[SearchAreas]) -> str:
    """Return a Markdown table of `CMD / CPR`: a row per task and model, a column per method.

    Searches with positions, those of a consensus, and those whose selection or other settings of
    the method differ from its defaults, where two searches differ, have columns of their own.

    Several searches in one cell, such as those of other seeds, go one below the other. An en dash
    means no search, or one without a curve.
    """
    from acdc_pipeline.specs import METHODS
    from acdc_pipeline.specs.names import Positions

    names, kinds = list(METHODS), get_args(Positions)
    settings = _settings_texts([search.run for search in searches])

    def column(run: RunSpec) -> str:
        return _method_text(_search_method(run) + settings[run.run_id()], run.positions)

    def order(search: SearchAreas) -> tuple[int, int, str, int]:
        run = search.run
        place = names.index(run.method.name), _searches(run)
        return *place, settings[run.run_id()], kinds.index(run.positions)

    methods = list(dict.fromkeys(column(s.run) for s in sorted(searches, key=order)))
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}
    for search in sorted(searches, key=lambda search: (search.run.task, search.run.model)):
        row = rows.setdefault((search.run.task, search.run.model.removeprefix("zoo:")), {})
        known = search.cmd is not None and search.cpr is not None
        areas = f"{search.cmd:.2f} / {search.cpr:.2f}" if known else NONE
        row.setdefault(column(search.run), []).append(areas)
    lines = [_markdown_line(["task", "model", *methods]), "|---" * (len(methods) + 2) + "|"]
    for (task, model), row in rows.items():
        areas = ["<br>".join(row.get(name, [NONE])) for name in methods]
        lines.append(_markdown_line([task, model, *areas]))
    return "\n".join(lines)


def _settings_texts(runs: Sequence[RunSpec]) -> dict[str, str]:
    """By run id `, select ilp`: the settings that are not at the default of the method.

    Only those in which two of the runs by that method differ; sizes, metric and ablation are none.
    """
    from acdc_pipeline.cli.views.run import parameter_text

    known = {column.name.replace(" ", "_") for column in run_list.SETTINGS} - {*_SHOWN}
    values = [run_list.method_settings(run.method) for run in runs]
    seen: dict[tuple[str, str], set[Any]] = {}
    for run, settings in zip(runs, values, strict=True):
        for name in known & settings.keys():
            seen.setdefault((run.method.name, name), set()).add(settings[name])
    return {
        run.run_id(): "".join(
            f", {parameter_text(name, value)}"
            for name, value in settings.items()
            if len(seen.get((run.method.name, name), ())) > 1
            and value != type(run.method).defaults().get(name)
        )
        for run, settings in zip(runs, values, strict=True)
    }


def _searches(run: RunSpec) -> int:
    """The number of searches of a consensus; 0 for one search alone."""
    return getattr(run.method, "consensus", 0)


def _search_method(run: RunSpec) -> str:
    """The method without the size of its circuits: `acdc`, or `acdc x 3` for a consensus."""
    searches = _searches(run)
    return run.method.name + (f" x {searches}" if searches else "")


def _method_text(name: str, positions: str) -> str:
    return name if positions == "none" else f"{name}, positions {positions}"


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
    positions = [record.spec.positions for record in records]
    if set(positions) != {"none"}:
        rows = [{**row, "positions": name} for row, name in zip(rows, positions, strict=True)]
    sizes = [str(r.circuit.n_pairs) for r in records if r.circuit is not None]
    rows = [{**row, "pairs": size} for row, size in zip(rows, sizes, strict=True)]
    sides = [{"": side, **row} for side, row in zip("AB", rows, strict=True)]
    print_table((Column(""), *run_list.COLUMNS), sides)
    print_line("")
    row = pair_row(pair)
    print_table(PAIR_COLUMNS, [{k: v for k, v in row.items() if k not in ("task", "method")}])
    if pair.spans:
        print_line("")
        print_table(SPAN_COLUMNS, _span_rows(pair))
    if pair.edges is None:
        return
    first, second = (_compared_circuit(record, pair) for record in records)
    parts = (
        ("only A", first, pair.edges.only_a),
        ("both", first, pair.edges.both),
        ("only B", second, pair.edges.only_b),
    )
    strongest = {name: _strongest(*side, edges) for name, side, edges in parts if edges}
    if strongest:  # two empty circuits have no edges to name
        print_line("\nThe strongest edges:\n")
        print_facts(strongest)


def pair_row(pair: Pair) -> dict[str, str]:
    """Return a comparison of two runs as a row of `PAIR_COLUMNS`.

    `pairs` are those of nodes: only in A, in both, only in B.
    """
    edges, roles = pair.edges, pair.roles
    counts = [NONE] * 3 if edges is None else map(str, edges.counts)
    both, one = (), ()
    if roles is not None:
        both = roles.both or ["none"]
        one = [f"A: {r}" for r in roles.only_a] + [f"B: {r}" for r in roles.only_b] or ["none"]
    return {
        "task": pair.cell.task,
        "method": _method_text(pair.cell.method_text, pair.positions),
        **dict(zip(("only A", "both", "only B"), counts, strict=True)),
        "Jaccard": NONE if edges is None else f"{edges.jaccard:.3f}",
        "pairs": NONE if pair.node_pairs is None else " / ".join(map(str, pair.node_pairs.counts)),
        "by role": NONE if pair.role_edges is None else f"{pair.role_edges.jaccard:.3f}",
        "roles of both": ", ".join(both) or NONE,
        "roles of one": ", ".join(one) or NONE,
    }


def _span_rows(pair: Pair) -> list[dict[str, str]]:
    """Return the overlap in each span that has an edge as rows of `SPAN_COLUMNS`."""
    return [
        {
            "span": name,
            **dict(zip(("only A", "both", "only B"), map(str, part.counts), strict=True)),
            "Jaccard": f"{part.jaccard:.3f}",
        }
        for name, part in pair.spans.items()
        if any(part.counts)
    ]


def pair_document(pair: Pair) -> dict[str, Any]:
    """Return a comparison of two runs as JSON data."""
    return {
        "name": str(pair.cell),
        "cell": pair.cell.plain(),
        "runs": list(pair.runs),
        "positions": pair.positions,
        "without_positions": pair.without_positions,
        "spans": {name: _overlap_document(part) for name, part in pair.spans.items()},
        "edges": _overlap_document(pair.edges),
        "node_pairs": _overlap_document(pair.node_pairs),
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


def _compared_circuit(record: RunRecord, pair: Pair) -> tuple[Circuit, Rank]:
    """Return the circuit of a run as it was compared, and how its method ranks edges."""
    from acdc_pipeline.specs import circuit_method

    assert record.circuit is not None
    circuit = record.circuit.collapse() if pair.without_positions else record.circuit
    return circuit, circuit_method(record.spec.method).ranking


def _strongest(circuit: Circuit, rank: Rank, edges: Sequence[str]) -> str:
    """Name those of `edges`, which the circuit keeps, that come first by rank."""
    wanted = set(edges)
    best = map(str, circuit.strongest(len(circuit), rank))
    return list_first([name for name in best if name in wanted], MAX_EDGES_NAMED)


def _overlap_document(overlap: Overlap[str] | None) -> dict[str, Any] | None:
    return None if overlap is None else asdict(overlap) | {"jaccard": overlap.jaccard}
