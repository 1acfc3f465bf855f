"""`acdc compare`: all searches of a store; `acdc runs compare`: two runs, or two models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from acdc_pipeline.cli.commands.compare_mib import compare_mib
from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.options.parsers import output_file
from acdc_pipeline.cli.terminal.files import check_drawing, write_drawing
from acdc_pipeline.cli.terminal.output import print_json, print_line, print_note, print_warnings
from acdc_pipeline.cli.terminal.progress import show_progress
from acdc_pipeline.cli.terminal.tables import print_table
from acdc_pipeline.errors import ExecutionFailed, InvalidInput, UnknownName
from acdc_pipeline.files import require_empty
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from acdc_pipeline.errors import StoreError
    from acdc_pipeline.regression.pair import Pair, Roles
    from acdc_pipeline.store import RunRecord, RunSummary, Store
    from acdc_pipeline.workflows.search_areas import SearchAreas


def compare(
    context: typer.Context,
    task: shared.OfTask = None,
    model: shared.OfModel = None,
    metric: Annotated[
        str | None,
        typer.Option(
            **completion.METRIC,
            help="Metric of faithfulness. Default: each task's discovery metric.",
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure the curves that the store does not have."),
    ] = False,
    mib: Annotated[
        Path | None,
        typer.Option(
            "--mib",
            metavar="DIR",
            help="Write every search as the MIB leaderboard reads it, and print CMD and CPR by "
            "MIB's protocol.",
        ),
    ] = None,
    mib_data: shared.MibData = None,
    split: Annotated[
        str,
        typer.Option(
            metavar="SPLIT", help="With --mib: train, validation or test, of tasks from MIB's data."
        ),
    ] = "validation",
    head: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="With --mib: at most so many prompts. Default: the whole split.",
        ),
    ] = None,
    device: shared.Device = "auto",
    memory: shared.Memory = None,
    threads: shared.Threads = None,
    store: shared.StoreUrl = None,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print one Markdown table: methods x tasks and models."),
    ] = False,
    json: shared.Json = False,
) -> None:
    """Show CMD and CPR of every search in the store: methods x tasks x models.

    CMD comes first and orders the searches, since a circuit that exceeds the model gains in CPR: it
    is the area between the faithfulness curve and 1. In parentheses are 95 % intervals over
    prompts; searches whose intervals of CMD overlap share a place.

    Runs that differ only in threshold or size belong to one search. Its curve is that of an
    evaluation of any of them, if it has the circuits that are in the store; a dash means not
    evaluated. With --measure the missing curves are measured, and kept like evaluations if they are
    in the metric of the search. Null and stability come from the evaluation of the largest circuit.
    A search that cannot be measured is named on stderr, and the exit code is then 3. Tasks that
    were .jsonl files are found in the current folder.

    With --mib the searches of tasks made by `acdc tasks mib` are measured on a split of MIB's data,
    all others on as many prompts of another seed, by the logit difference under patching.

    \b
    Examples:
      acdc run deploy/sweeps/methods.yaml && acdc compare --measure
      acdc compare --mib submission --mib-data mib-data
    """
    from acdc_pipeline.cli.views import comparison
    from acdc_pipeline.cli.views.run_list import suggest_filters
    from acdc_pipeline.specs.names import METRICS, MetricName
    from acdc_pipeline.store import figures_of
    from acdc_pipeline.store.index import Wanted, equal
    from acdc_pipeline.workflows.search_areas import by_distance, stored_searches

    if json and markdown:
        raise InvalidInput("--markdown and --json exclude one another", where="compare")
    if mib is not None and (markdown or measure or metric is not None):
        raise InvalidInput("--mib excludes --markdown, --measure and --metric", where="compare")
    if mib is not None:
        require_empty(mib, field="--mib")
        from acdc_pipeline.prompts.mib import check_data_folder, check_split

        check_split(split)
        check_data_folder(mib_data)
    shared.read_memory(context)
    shared.read_threads(context)
    if metric is not None and metric not in METRICS:
        raise UnknownName.among("metric", metric, METRICS, where="compare", field="--metric")
    results = shared.open_store(context)
    found = results.find(Wanted(where=equal(task=task, model=model)))
    if all(summary.edges_kept is None for summary in found.summaries):
        hint = suggest_filters(task, model, found)
        print_note(f"no circuit to compare{hint}")
        if json:
            print_json({"store": results.url, "searches": []})
        return
    evaluations = results.evaluations(summary.run_id for summary in found.summaries)
    print_warnings(evaluations.damaged)
    searches = stored_searches(
        results, found.summaries, evaluations.by_run, cast("MetricName | None", metric)
    )
    if mib is not None:
        compare_mib(context, results, searches, mib)
        return
    figures = {
        run_id: figures_of(evaluations.by_run[run_id])
        for search in searches
        if (run_id := search.run.run_id()) in evaluations.by_run
    }
    if measure:
        searches = _measure_missing(context, results, searches)
    searches = by_distance(searches)
    _note_dashes(context, searches)
    if json:
        documents = comparison.search_documents(searches, figures)
        print_json({"store": results.url, "searches": documents})
    elif markdown:
        print_line(comparison.searches_markdown(searches))
    else:
        print_table(comparison.SEARCH_COLUMNS, comparison.search_rows(searches, figures))
    if any(search.state == "failed" for search in searches):
        raise typer.Exit(ExecutionFailed.exit_code)


def _measure_missing(
    context: typer.Context, results: Store, searches: Sequence[SearchAreas]
) -> list[SearchAreas]:
    """Measure the areas that are missing; note if they could not be stored."""
    if all(search.state != "missing" for search in searches):
        return list(searches)
    unkept: StoreError | None = None
    measured = []
    with show_progress() as progress:
        from acdc_pipeline.workflows.discovery import worker_factory
        from acdc_pipeline.workflows.measured_areas import measure_areas

        memory, threads = shared.read_memory(context), shared.read_threads(context)
        worker = worker_factory(context.params["device"], memory, threads)()
        for search in searches:
            if search.state == "missing":
                run = search.run
                progress.step(f"{run.task} in {run.model} by {run.method.name}")
                found, problem = measure_areas(results, search, worker)
                unkept = unkept or problem
                measured.append(found)
            else:
                measured.append(search)
    if unkept is not None:
        print_note(f"note: what was measured could not be stored: {unkept.problem}")
    return measured


def _note_dashes(context: typer.Context, searches: Sequence[SearchAreas]) -> None:
    """Print why searches have no areas."""
    missing = sum(search.state == "missing" for search in searches)
    for search in searches:
        if search.state in ("failed", "none"):
            run = search.run
            where = f"{run.run_id()[:8]}, {run.method.name}: {run.task} in {run.model}"
            print_note(f"{where}: {search.reason}")
    if missing:
        print_note(
            f"no curve stored for {missing} of {len(searches)} searches; to measure what is "
            f"missing: {shared.repeat_command(context)} --measure"
        )


def compare_runs(
    context: typer.Context,
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
            help="Instead of runs, given twice: A, then B, as runs name them; MODEL@DIGITS for "
            "one of several revisions.",
        ),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(**output_file("--svg"), help="Draw what they share.")
    ] = None,
    force: shared.Force = False,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Show which edges and which roles of heads the circuits of two runs, or two models, share.

    Of two models, those runs are compared that have the same task, method, prompts and seed.
    Roles come from profiles in the store. Models of different shape are compared by role alone.

    \b
    Examples:
      acdc runs compare 3f2a91c0 90cc71aa
      acdc runs compare --model zoo:gpt2-4l-s0 --model zoo:gpt2-4l-s0-edited
      acdc runs compare --model dir:out/model@3f2a --model dir:out/model@90cc --svg shared.svg
    """
    from acdc_pipeline.cli.views import comparison
    from acdc_pipeline.cli.views.run import run_name
    from acdc_pipeline.cli.views.run_list import load_figures
    from acdc_pipeline.regression.pair import pair_runs, roles_in, runs_of
    from acdc_pipeline.store.index import Wanted
    from acdc_pipeline.store.run_list import evaluation_part

    runs = [run for run in (first, second) if run is not None]
    models = model or []
    if (len(runs), len(models)) not in ((2, 0), (0, 2)):
        given = " and ".join((pluralize(len(runs), "run"), pluralize(len(models), "model")))
        raise InvalidInput(
            f"{given} to compare",
            where="runs compare",
            allowed="two runs, RUN RUN; or two models, --model A --model B",
        )
    check_drawing(svg, force=force, json=json, command="runs compare")
    results = shared.open_store(context)
    records = [shared.find_circuit(results, run)[0] for run in runs]
    named = {record.spec.model for record in records}
    named |= {name for text in models for name in (text, text.rpartition("@")[0])}
    found = results.find(Wanted(where={"model": named}))
    summaries = found.summaries
    sides = (
        [_runs_on_same_model(summaries, record) for record in records]
        if records
        else [runs_of(summaries, text, found.models) for text in models]
    )
    roles = [
        roles_in(results.get(s.run_id) for s in side if s.spec.method.name == "profile")
        for side in sides
    ]
    pairs = (
        [pair_runs(records[0], records[1], *roles)]
        if records
        else _pairs_of_models(results, sides, roles)
    )
    if svg is not None:
        names = [f"{r.spec.run_id()[:8]}, {run_name(r.spec)}" for r in records] or models
        if write_drawing(svg, comparison.draw_pairs(names[0], names[1], pairs)):
            return
    ids = [record.spec.run_id() for record in records]
    figures = load_figures(results, ids) if records else {}
    if json:
        print_json(
            {
                "store": results.url,
                "runs": [{"run_id": i, **evaluation_part(figures.get(i))} for i in ids],
                "models": [
                    {"model": side[0].spec.model, "revision": side[0].spec.model_revision}
                    for side in sides
                ],
                "same_shape": all(pair.edges is not None for pair in pairs),
                "pairs": [comparison.pair_document(pair) for pair in pairs],
                "drawing": None if svg is None else str(svg),
            }
        )
        return
    if records:
        comparison.print_pair_of_runs(summaries, records, pairs[0], figures)
    else:
        print_line(f"A {models[0]}\nB {models[1]}\n")
        print_table(comparison.PAIR_COLUMNS, [comparison.pair_row(pair) for pair in pairs])
    if any(pair.without_positions for pair in pairs):
        print_note(
            "\nnote: the edges of the runs have different positions and are compared without them",
            indent="      ",
        )
    if any(pair.edges is None for pair in pairs):
        print_note(
            "\nnote: the models differ in shape and are compared by role alone", indent="      "
        )
    unknown = {s[0].spec.model for s, known in zip(sides, roles, strict=True) if known is None}
    for ref in sorted(unknown):
        print_note(f"note: no profile of {ref} in the store, so no roles: acdc heads {ref}")


def _runs_on_same_model(summaries: Sequence[RunSummary], record: RunRecord) -> list[RunSummary]:
    model = (record.spec.model, record.spec.model_revision)
    return [s for s in summaries if (s.spec.model, s.spec.model_revision) == model]


def _pairs_of_models(
    results: Store, sides: Sequence[list[RunSummary]], roles: Sequence[Roles | None]
) -> list[Pair]:
    from acdc_pipeline.regression.pair import pair_runs, runs_by_settings

    first, second = (runs_by_settings(side) for side in sides)
    pairs = [
        pair_runs(results.get(first[q].run_id), results.get(second[q].run_id), *roles)
        for q in first
        if q in second
    ]
    if not pairs:
        raise InvalidInput(
            "the models have no run of the same task, method, prompts and seed",
            where=results.url,
            fix="run a sweep that names both models, or name two runs: acdc runs compare RUN RUN",
        )
    return sorted(pairs, key=lambda pair: (pair.cell.task, pair.cell.stem))
