"""`acdc regress`: find the circuits again, and compare them with committed baselines."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.commands.jobs import print_version_note
from acdc_pipeline.cli.commands.run import SweepName
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options.parsers import file_parser, integer_parser
from acdc_pipeline.cli.options.shared import repeat_command
from acdc_pipeline.cli.sweeping import carry_out
from acdc_pipeline.cli.terminal.errors import print_error
from acdc_pipeline.cli.terminal.files import STDOUT, check_writable, write_bytes
from acdc_pipeline.cli.terminal.interrupts import temporary_folder
from acdc_pipeline.cli.terminal.output import print_json, print_note
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.streams import reserve_stdout
from acdc_pipeline.cli.terminal.text import relative_path
from acdc_pipeline.cli.views.regression import print_report
from acdc_pipeline.cli.workplace import ExecutorName, ProfileName, SweepDevice
from acdc_pipeline.cli.workplace import workplace as workplace_of
from acdc_pipeline.errors import BaselineError, ExecutionFailed, InvalidInput
from acdc_pipeline.workflows.executors import DEFAULT_PROFILE

if TYPE_CHECKING:
    from acdc_pipeline.execution.runs import Outcome, PlannedRun
    from acdc_pipeline.regression.report import Report
    from acdc_pipeline.specs import ModelRef
    from acdc_pipeline.store import Store

NO_BASELINE = BaselineError.exit_code
LEAST_SEEDS = 5
"""`regression.tolerance` says so too."""


def regress(
    context: typer.Context,
    sweep: SweepName = "regress",
    baselines: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the baselines are. Default: results/baselines of the project folder, else "
            "those that ship.",
        ),
    ] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="Put model NEW in the place of the sweep's model OLD, and hold it against OLD's "
            "baselines. May be given several times.",
        ),
    ] = None,
    update_baseline: Annotated[
        bool,
        typer.Option(
            "--update-baseline",
            help="Write the baselines of cells that drifted or have none; --reason says why.",
        ),
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why the baselines change; kept in them.")
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            parser=integer_parser("--seeds", LEAST_SEEDS, 1000),
            metavar="N",
            help="Other samples of prompts that the tolerances of new baselines are measured from.",
        ),
    ] = LEAST_SEEDS,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit-xml",
            "--junit",
            parser=file_parser("--junit-xml"),
            metavar="FILE",
            help="Write JUnit XML: drift is a failure, what kept a cell from being compared an "
            "error.",
        ),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            "--summary",
            parser=file_parser("--markdown"),
            metavar="FILE",
            help="Write Markdown. In a GitHub workflow it goes to the step summary by itself.",
        ),
    ] = None,
    wiki: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A wiki whose pages the heads in the Markdown lead to."),
    ] = None,
    cached: Annotated[
        bool,
        typer.Option("--cached", help="Take the runs that --store holds, as they are."),
    ] = False,
    executor: ExecutorName = None,  # noqa: ARG001  (read from the context, like all that follow it)
    profile: ProfileName = DEFAULT_PROFILE,  # noqa: ARG001
    device: SweepDevice = None,  # noqa: ARG001
    memory: shared.Memory = None,  # noqa: ARG001
    threads: shared.Threads = None,  # noqa: ARG001
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Keep the fresh runs there. Workers on other machines need one that all reach. "
            "Default: a temporary folder.",
        ),
    ] = None,
    json: shared.Json = False,
) -> None:
    """Find the circuits of a sweep again, and compare them with committed baselines.

    Every run is executed afresh. Exit code 1 where a circuit drifted, 3 where a run failed or
    nothing was compared, 4 where a baseline is missing or of no use.

    \b
    Examples:
      acdc regress
      acdc regress small.yaml
      acdc regress --replace zoo:gpt2-4l-s0=dir:out/model --junit-xml regress.xml
      acdc regress --update-baseline --reason "trained with a new tokenizer"
    """
    print_version_note()
    place = workplace_of(context)
    source = context.get_parameter_source("store")
    given = store if source is not None and source.name == "COMMANDLINE" else None
    _check_options(update_baseline, reason, cached, given)
    _check_documents(junit, summary, json)
    from acdc_pipeline.regression.baseline import baselines_folder, check_folders, folder_to_write
    from acdc_pipeline.workflows.regression import (
        check_fresh,
        plan_cells,
        run_regression,
        update_baselines,
    )

    known = baselines_folder(baselines)
    folder = folder_to_write(baselines)
    check_folders(known, folder if update_baseline else None)
    replacements = _parse_replacements(replace or ())
    with reserve_stdout(), _store_at(given) as results:
        with show_status("planning"):
            name, cells = plan_cells(sweep, place.profile.dtype, replacements)
            if not cached:
                check_fresh(results, cells)
        again = None if given is None else f"{repeat_command(context)} --cached"

        def execute(runs: Sequence[PlannedRun]) -> list[Outcome]:
            return carry_out(runs, results, place, again=again)

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
        store=None if given is None else report.store,
    )
    if json:
        print_json(report.plain())
    else:
        print_report(report)
    written = _written(report, junit, summary, wiki)
    if report.exit_code == NO_BASELINE and not os.environ.get("CI"):
        again = repeat_command(context, without=("json", "junit", "summary"))
        print_note(f"\nto make the baselines: {again} --update-baseline --reason TEXT")
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
    """Raises InvalidInput where options do not go together."""
    if update and not (reason or "").strip():
        raise InvalidInput("a new baseline needs a reason", field="--reason", fix="--reason TEXT")
    if reason is not None and not update:
        raise InvalidInput("nothing is written", field="--reason", fix="add --update-baseline")
    if cached and store is None:
        raise InvalidInput("needs a store to take runs from", field="--cached", fix="--store URL")


def _check_documents(junit: Path | None, summary: Path | None, json: bool) -> None:
    """Raises InvalidInput where a document has no place of its own: found out before the runs."""
    documents = {"--junit-xml": junit, "--markdown": summary}
    for option, path in documents.items():
        if path is None:
            continue
        if json and path == STDOUT:
            raise InvalidInput("stdout is taken by --json", field=option, allowed="a file")
        check_writable(path)
    if junit is not None and junit == summary:
        raise InvalidInput("is the file of --junit-xml", field="--markdown", where=str(summary))


@contextmanager
def _store_at(url: str | None) -> Iterator[Store]:
    """The store of the fresh runs, which is gone at the end where nobody asked for it."""
    from acdc_pipeline.store import open_store

    if url is not None:
        yield open_store(url)
        return
    with temporary_folder("acdc-regress-") as folder:
        yield open_store(folder)


def _written(report: Report, junit: Path | None, summary: Path | None, wiki: str | None) -> bool:
    """Writes the documents that were asked for, and the step summary of a GitHub workflow.

    False where a document could not be written, which says nothing about the circuits.
    """
    from acdc_pipeline.cli.views.head_pages import head_pages
    from acdc_pipeline.regression.junit import junit_xml
    from acdc_pipeline.regression.summary import summary_markdown

    models = [verdict.cell.model for verdict in report.verdicts]
    text = summary_markdown(report, None if wiki is None else head_pages(wiki, models))
    shown = text.encode("utf-8", "replace")  # names of files are not always text
    if step := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(step).open("ab") as file:
                file.write(shown)
        except OSError as error:
            print_note(f"acdc: warning: GITHUB_STEP_SUMMARY cannot be written: {error.strerror}")
    try:
        if junit is not None:
            write_bytes(junit, junit_xml(report))
        if summary is not None:
            write_bytes(summary, shown)
    except InvalidInput as error:
        print_error(error)
        return False
    return True
