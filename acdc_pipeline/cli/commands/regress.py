"""`acdc regress`: repeat a sweep, and compare its circuits with committed baselines."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.commands.jobs import print_version_note
from acdc_pipeline.cli.commands.run import execute_with_progress
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options import sweep as sweep_options
from acdc_pipeline.cli.options.parsers import integer, output_file
from acdc_pipeline.cli.terminal.errors import print_error
from acdc_pipeline.cli.terminal.files import STDOUT
from acdc_pipeline.cli.terminal.interrupts import temporary_folder
from acdc_pipeline.cli.terminal.output import print_json, print_note, print_warnings
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.streams import reserve_stdout
from acdc_pipeline.cli.terminal.text import relative_path
from acdc_pipeline.cli.views.regression import print_report
from acdc_pipeline.errors import BaselineError, ExecutionFailed, InvalidInput
from acdc_pipeline.files import check_writable, write_bytes
from acdc_pipeline.regression import LEAST_SEEDS
from acdc_pipeline.workflows.executors import DEFAULT_PROFILE

if TYPE_CHECKING:
    from acdc_pipeline.execution.runs import Outcome, PlannedRun
    from acdc_pipeline.regression.ci_reports import HeadLink
    from acdc_pipeline.regression.report import Report
    from acdc_pipeline.specs import ModelRef

NO_BASELINE = BaselineError.exit_code


def regress(
    context: typer.Context,
    sweep: sweep_options.SweepName = "regress",
    baselines: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the baselines. Default: results/baselines of the project folder, else "
            "the bundled ones.",
        ),
    ] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="Replace the sweep's model OLD by NEW, and compare it with OLD's baselines. "
            "May be given several times.",
        ),
    ] = None,
    update_baseline: Annotated[
        bool,
        typer.Option(
            "--update-baseline",
            help="Write new baselines for cells that drifted or have none; needs --reason.",
        ),
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why the baselines change; stored in them.")
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            **integer("--seeds", LEAST_SEEDS, 1000),
            help="Number of further prompt samples from which the tolerances of new baselines "
            "are measured.",
        ),
    ] = LEAST_SEEDS,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit-xml",
            "--junit",
            **output_file("--junit-xml"),
            help="Write JUnit XML: drift is a failure, a cell that could not be compared an error.",
        ),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            "--summary",
            **output_file("--markdown"),
            help="Write Markdown. In a GitHub workflow the step summary gets it in any case.",
        ),
    ] = None,
    wiki: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A wiki to which the heads in the Markdown link."),
    ] = None,
    cached: Annotated[
        bool, typer.Option("--cached", help="Use the runs in --store as they are.")
    ] = False,
    executor: sweep_options.ExecutorName = None,
    profile: sweep_options.ProfileName = DEFAULT_PROFILE,
    device: sweep_options.SweepDevice = None,
    memory: shared.Memory = None,
    threads: shared.Threads = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Store of the new runs; workers on other machines need one that all of them can "
            "reach. Default: a temporary folder.",
        ),
    ] = None,
    json: shared.Json = False,
) -> None:
    """Repeat the searches of a sweep, and compare the circuits with committed baselines.

    Every run is executed again. Exit code 1 if a circuit drifted, 3 if a run failed or nothing
    was compared, 4 if a baseline is missing or incompatible.

    \b
    Examples:
      acdc regress
      acdc regress small.yaml
      acdc regress --replace zoo:gpt2-4l-s0=dir:out/model --junit-xml regress.xml
      acdc regress --update-baseline --reason "trained with a new tokenizer"
    """
    print_version_note()
    settings = sweep_options.read_settings(context)
    store = store if shared.is_typed(context, "store") else None
    _check_options(update_baseline, reason, cached, store)
    _check_documents(junit, summary, json)
    from acdc_pipeline.regression.baseline import (
        baselines_folder,
        check_folders,
        choose_new_folder,
    )
    from acdc_pipeline.store import open_store
    from acdc_pipeline.workflows.regression import (
        check_fresh,
        plan_cells,
        run_regression,
        update_baselines,
    )

    known = baselines_folder(baselines)
    folder = choose_new_folder(baselines)
    with shared.naming_options("baselines"):
        check_folders(known, folder if update_baseline else None)
    replacements = _parse_replacements(replace or ())
    place = temporary_folder("acdc-regress-") if store is None else nullcontext(store)
    with reserve_stdout(), place as url:
        results = open_store(url)
        with show_status("planning"), shared.naming_options("replace"):
            name, cells = plan_cells(sweep, settings.profile, replacements)
            if not cached:
                check_fresh(
                    results, cells, fix="name another store, or take them as they are with --cached"
                )
        resume = None if store is None else f"{shared.repeat_command(context)} --cached"

        def execute(runs: Sequence[PlannedRun]) -> list[Outcome]:
            return execute_with_progress(runs, results, settings, resume_command=resume)

        report = run_regression(
            name, cells, execute, results, known, comparing=lambda: show_status("comparing")
        )
        if update_baseline:
            report = update_baselines(
                report, cells, execute, results, folder, str(reason).strip(), seeds
            )
    report = dataclasses.replace(
        report,
        baselines=relative_path(report.baselines),
        store=None if store is None else report.store,
    )
    if json:
        print_json(report.plain())
    else:
        print_report(report)
    written = _write_documents(report, junit, summary, wiki)
    if report.exit_code == NO_BASELINE and not os.environ.get("CI"):
        command = shared.repeat_command(context, without=("json", "junit", "summary"))
        print_note(f"\nto write the baselines: {command} --update-baseline --reason TEXT")
    if report.exit_code or not written:
        raise typer.Exit(report.exit_code or ExecutionFailed.exit_code)


def _parse_replacements(texts: Iterable[str]) -> dict[ModelRef, ModelRef]:
    """Parse `OLD=NEW` into models and their replacements. Raises InvalidInput."""
    from acdc_pipeline.specs import ModelRef

    found: dict[ModelRef, ModelRef] = {}
    for text in texts:
        old, sign, new = text.partition("=")
        if not (old and sign and new):
            raise InvalidInput(
                f"'{text}' does not name two models",
                field="--replace",
                allowed="OLD=NEW, as in zoo:gpt2-4l-s0=dir:out/model",
            )
        was, now = ModelRef.parse(old), ModelRef.parse(new)
        if was in found or now in found.values():
            raise InvalidInput(f"'{text}' names a model again", field="--replace")
        found[was] = now
    return found


def _check_options(update: bool, reason: str | None, cached: bool, store: str | None) -> None:
    """Raise InvalidInput if options contradict one another."""
    if update and not (reason or "").strip():
        raise InvalidInput("a new baseline needs a reason", field="--reason", fix="--reason TEXT")
    if reason is not None and not update:
        raise InvalidInput("nothing is written", field="--reason", fix="add --update-baseline")
    if cached and store is None:
        raise InvalidInput("needs a store to take runs from", field="--cached", fix="--store URL")


def _check_documents(junit: Path | None, summary: Path | None, json: bool) -> None:
    """Raise InvalidInput, before anything runs, if a document cannot be written."""
    documents = {"--junit-xml": junit, "--markdown": summary}
    for option, path in documents.items():
        if path is None:
            continue
        if json and path == STDOUT:
            raise InvalidInput("stdout is taken by --json", field=option, allowed="a file")
        check_writable(path)
    if junit is not None and junit == summary:
        raise InvalidInput("is the file of --junit-xml", field="--markdown", where=str(summary))


def _write_documents(
    report: Report, junit: Path | None, summary: Path | None, wiki: str | None
) -> bool:
    """Write the requested documents, and the step summary of a GitHub workflow.

    Return False if a document cannot be written, which does not change the verdicts.
    """
    from acdc_pipeline.regression.ci_reports import junit_xml, summary_markdown

    text = summary_markdown(report, None if wiki is None else _head_links(wiki, report))
    content = text.encode("utf-8", "replace")  # file names need not be valid text
    if step := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(step).open("ab") as file:
                file.write(content)
        except OSError as error:
            print_warnings([f"GITHUB_STEP_SUMMARY cannot be written: {error.strerror}"])
    try:
        if junit is not None:
            write_bytes(junit, junit_xml(report))
        if summary is not None:
            write_bytes(summary, content)
    except InvalidInput as error:
        print_error(error)
        return False
    return True


def _head_links(wiki: str, report: Report) -> HeadLink:
    """Return a function for the address of a head's page in the wiki at a URL."""
    from acdc_pipeline.wiki.text import assign_slugs

    base = wiki.removesuffix("index.html").rstrip("/")
    folders = assign_slugs([verdict.cell.model for verdict in report.verdicts], ("index",))

    def link(model: str, node: str) -> str | None:
        return f"{base}/m/{folders[model]}/{node}.html" if ".h" in node else None

    return link
