"""`acdc run`: a sweep, executed."""

from __future__ import annotations

from typing import Annotated

import typer

from acdc_pipeline.cli.commands.jobs import print_version_note
from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.cli.options.shared import repeat_command
from acdc_pipeline.cli.sweeping import carry_out, planned_against, say_what_is_there
from acdc_pipeline.cli.terminal.output import print_json, print_line
from acdc_pipeline.cli.terminal.streams import reserve_stdout
from acdc_pipeline.cli.terminal.tables import print_table
from acdc_pipeline.cli.terminal.text import pluralize, relative_path
from acdc_pipeline.cli.views.sweep import COLUMNS, print_failures, sweep_document, sweep_rows
from acdc_pipeline.cli.workplace import ExecutorName, ProfileName, SweepDevice
from acdc_pipeline.cli.workplace import workplace as workplace_of
from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.workflows.executors import DEFAULT_PROFILE

SweepName = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP",
        autocompletion=completion.sweeps,
        help="A sweep by name, or its .yaml file.",
    ),
]
ShardOf = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Only the I-th of N parts. The parts of one sweep are equal in size, and together "
        "exactly the sweep; runs of one task in one model stay together where that is possible.",
    ),
]


def run(
    context: typer.Context,
    sweep: SweepName,
    executor: ExecutorName = None,  # noqa: ARG001  (read from the context, like all that follow it)
    profile: ProfileName = DEFAULT_PROFILE,  # noqa: ARG001
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try what failed before once more.")
    ] = False,
    shard: ShardOf = None,
    device: SweepDevice = None,  # noqa: ARG001
    memory: shared.Memory = None,  # noqa: ARG001
    threads: shared.Threads = None,  # noqa: ARG001
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Execute a sweep: every run of it that is not in the store.

    Runs that fail do not stop the others; they are kept with their cause, and not tried again
    unless asked to. Stopped at any moment, the same command goes on where it was. Exit code 3 if
    a run failed.

    \b
    Examples:
      acdc run demo
      acdc run deploy/sweeps/zoo.yaml --executor ray --profile gpu
      acdc run zoo --shard 3/8 --store s3://bucket/results
    """
    print_version_note()
    place = workplace_of(context)
    with reserve_stdout():
        results, work = planned_against(sweep, store, place, shard)
        todo = work.runs("to run", "failed before") if retry_failed else work.runs("to run")
        say_what_is_there(work)
        outcomes = carry_out(todo, results, place, again=repeat_command(context))
    ids = [planned.run_id for planned in work.plan.runs]
    summaries = results.summaries(ids)
    if json:
        paths = {summary.run_id: results.path(summary.run_id) for summary in summaries}
        print_json(sweep_document(work, outcomes, results.url, paths))
    elif work.plan.runs or work.plan.refused:
        print_table(COLUMNS, sweep_rows(work, outcomes, summaries))
        before = len(work.runs("cached"))
        print_line(
            f"\n{len(summaries)} of {pluralize(len(ids), 'run')} are in "
            f"{relative_path(results.url)}" + (f", {before} of them from before" if before else "")
        )
    else:
        print_line(f"nothing to do: shard {shard} of sweep '{work.plan.name}' has no run")
    print_failures(work, outcomes, hint="--retry-failed tries again")
    missing = len(ids) - len(summaries) + len(work.plan.refused)
    if missing:
        again = repeat_command(context, without=("retry_failed", "json"))
        raise ExecutionFailed(
            f"{missing} of {pluralize(len(ids) + len(work.plan.refused), 'run')} failed",
            fix=f"correct what is said above, then: {again}"
            + (" --retry-failed" if len(summaries) < len(ids) else ""),
        )
