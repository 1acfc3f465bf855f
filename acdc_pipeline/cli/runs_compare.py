"""`acdc runs compare`: two models, or two revisions of one, by what their circuits share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli import completion, options
from acdc_pipeline.cli.files import STDOUT, check_new, file_for, write_bytes
from acdc_pipeline.cli.output import note, print_json, say
from acdc_pipeline.cli.tables import Column, print_table
from acdc_pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from acdc_pipeline.regression.pair import Overlap, Pair, Roles
    from acdc_pipeline.store import RunSummary, Store

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


def compare_models(
    model: Annotated[
        list[str],
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="Given twice: A, then B, as runs name them; MODEL@DIGITS for one revision of "
            "several.",
        ),
    ],
    svg: Annotated[
        Path | None,
        typer.Option(parser=file_for("--svg"), metavar="FILE", help="Draw what they share."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    store: options.StoreUrl = None,
    json: options.Json = False,
) -> None:
    """Say which edges and which kinds of head the circuits of two models share.

    Runs are held against one another that ask the same of both: task, method, prompts, seed. Roles
    come from profiles in the store. Models of different shape are compared by role alone.

    \b
    Examples:
      acdc runs compare --model zoo:gpt2-4l-s0 --model zoo:gpt2-4l-s0-edited
      acdc runs compare --model dir:out/model@3f2a --model dir:out/model@90cc --svg shared.svg
    """
    from acdc_pipeline.regression.pair import compared, questions_of, runs_of
    from acdc_pipeline.regression.pair_figure import pair_svg

    if len(model) != 2:
        raise InvalidInput(
            f"given {len(model)} times", field="--model", allowed="two models: --model A --model B"
        )
    if json and svg == STDOUT:
        raise InvalidInput("--svg - and --json exclude one another", where="runs compare")
    if svg is not None and svg != STDOUT and not force:
        check_new(svg)
    results = options.store_for_reading(store)
    summaries = results.summaries()
    sides = [runs_of(summaries, text) for text in model]
    roles = [_roles(results, side) for side in sides]
    first, second = (questions_of(side) for side in sides)
    pairs = [
        compared(results.get(first[q].run_id), results.get(second[q].run_id), *roles)
        for q in first
        if q in second
    ]
    pairs.sort(key=lambda pair: (pair.cell.task, pair.cell.stem))
    if not pairs:
        raise InvalidInput(
            "no question was asked of both",
            where=results.url,
            fix="run a sweep that names both models",
        )
    if svg is not None:
        write_bytes(svg, pair_svg(model[0], model[1], pairs).encode())
        if svg == STDOUT:
            return
    if json:
        print_json(
            {
                "store": results.url,
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
    say(f"A {model[0]}\nB {model[1]}\n")
    print_table(COLUMNS, [_row(pair) for pair in pairs])
    if any(pair.edges is None for pair in pairs):
        note("\nnote: the models differ in shape: they are compared by role alone", indent="      ")
    for text, known in zip(model, roles, strict=True):
        if known is None:
            note(f"note: no profile of {text} in the store, so no roles: acdc heads {text}")


def _roles(results: Store, side: list[RunSummary]) -> Roles | None:
    from acdc_pipeline.regression.pair import roles_in

    profiles = [s for s in side if s.spec.method.name == "profile"]
    return roles_in(results.get(s.run_id) for s in profiles)


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
