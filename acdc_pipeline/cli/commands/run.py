"""`acdc run`: a sweep, planned and executed; `acdc plan`, `demo` and `regress` use its parts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from acdc_pipeline.cli.commands.jobs import print_version_note
from acdc_pipeline.cli.commands.watch import execute_and_watch
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options import sweep as sweep_options
from acdc_pipeline.cli.terminal.index_notes import IndexNotes
from acdc_pipeline.cli.terminal.output import print_json, print_line, print_note
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.streams import reserve_stdout
from acdc_pipeline.cli.terminal.tables import print_table
from acdc_pipeline.cli.terminal.text import format_size, relative_path
from acdc_pipeline.cli.views.sweep import (
    print_failures,
    sweep_columns,
    sweep_document,
    sweep_rows,
)
from acdc_pipeline.cli.views.sweep_progress import show_sweep_progress
from acdc_pipeline.errors import ExecutionFailed, StoreFailed
from acdc_pipeline.text import pluralize
from acdc_pipeline.workflows.executors import (
    DEFAULT_PROFILE,
    ExecutionSettings,
    execute_runs,
    leaves_gpu_idle,
    make_executor,
)

if TYPE_CHECKING:
    from acdc_pipeline.execution.runs import Outcome, PlannedRun
    from acdc_pipeline.store import Store
    from acdc_pipeline.workflows.sweep import SweepStatus

_LARGE_SWEEP = 50_000
_BYTES_PER_RUN = 2_000
"""Memory of a planned run: 1.6 kB measured on 200,000 of them, and a forecast for each."""


def run(
    context: typer.Context,
    sweep: sweep_options.SweepName,
    executor: sweep_options.ExecutorName = None,
    profile: sweep_options.ProfileName = DEFAULT_PROFILE,
    retry_failed: sweep_options.RetryFailed = False,
    shard: sweep_options.Shard = None,
    watch: sweep_options.Watch = False,
    lease: sweep_options.Lease = None,
    device: sweep_options.SweepDevice = None,
    memory: shared.Memory = None,
    threads: shared.Threads = None,
    shards: shared.Shards = None,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Execute every run of a sweep that is not in the store.

    Runs that fail do not stop the others; their errors are stored, and they are retried only with
    --retry-failed. If the command is stopped at any moment, the same command continues where it
    was. Started several times on one store, also on several machines, the commands share the runs.
    Exit code 3 if a run failed.

    \b
    Examples:
      acdc run demo
      acdc run deploy/sweeps/zoo.yaml --executor ray --profile gpu
      acdc run zoo --shard 3/8 --store s3://bucket/results
    """
    print_version_note()
    settings = sweep_options.read_settings(context)
    with reserve_stdout():
        results, status = plan_with_store(sweep, store, settings, shard, json=json)
        todo = status.runs("to run", "failed before") if retry_failed else status.runs("to run")
        print_cached(status)

        def execute(runs: Sequence[PlannedRun]) -> list[Outcome]:
            command = shared.repeat_command(context)
            return execute_with_progress(runs, results, settings, resume_command=command)

        outcomes = execute(todo)
        if watch:
            status, outcomes = execute_and_watch(
                outcomes,
                lambda: plan_with_store(sweep, store, settings, shard, json=True)[1],
                execute,
            )
    ids = [planned.run_id for planned in status.plan.runs]
    summaries = results.summaries(ids)
    if json:
        paths = {summary.run_id: results.path(summary.run_id) for summary in summaries}
        print_json(sweep_document(status, outcomes, results.url, paths))
    elif status.plan.runs or status.plan.refused:
        print_table(sweep_columns(status), sweep_rows(status, outcomes, summaries))
        before = len(status.runs("cached"))
        stored = f"{len(summaries)} of {pluralize(len(ids), 'run')} are in"
        more = f", {before} of them from before" if before else ""
        print_line(f"\n{stored} {relative_path(results.url)}{more}")
    else:
        print_line(f"nothing to do: shard {shard} of sweep '{status.plan.name}' has no run")
    print_failures(status, outcomes, hint="--retry-failed tries again")
    command = shared.repeat_command(context, without=("retry_failed", "json"))
    require_complete(status, len(summaries), command)


def require_complete(status: SweepStatus, stored: int, command: str) -> None:
    """Raise ExecutionFailed unless the store has every run of the sweep, of which it has `stored`.

    Args:
        command: executes what is missing.
    """
    runs, unsupported = len(status.plan.runs), len(status.plan.unsupported)
    failed = runs - stored + len(status.plan.refused) - unsupported
    total = pluralize(runs + len(status.plan.refused), "run")
    leave_out = "leave unsupported models out of the sweep ('exclude')"
    if failed:
        raise ExecutionFailed(
            f"{failed} of {total} failed"
            + (
                f", and {unsupported} cannot be executed: unsupported models" if unsupported else ""
            ),
            fix=f"correct the errors above{f' and {leave_out}' if unsupported else ''}, then: "
            f"{command}{' --retry-failed' if stored < runs else ''}",
        )
    if unsupported:
        raise ExecutionFailed(
            f"{unsupported} of {total} cannot be executed: unsupported models; all others are in "
            "the store",
            fix=leave_out,
        )


def plan_with_store(
    sweep: str,
    store: str | None,
    settings: ExecutionSettings,
    shard: str | None,
    *,
    json: bool,
) -> tuple[Store, SweepStatus]:
    """Open the store and plan a sweep, or its part `I/N`. Writes nothing, executes nothing.

    The dtype of the settings applies where the sweep names none. Raises InvalidInput.
    """
    from acdc_pipeline.execution.shard import WHOLE, parse_shard
    from acdc_pipeline.specs import find_sweep

    with shared.naming_options("shard"):
        part = WHOLE if shard is None else parse_shard(shard)
    spec = find_sweep(sweep)
    for alias, name in spec.aliases().items():
        if not json:
            shared.note_alias(alias, name)
    with show_status(f"planning {spec.name}"):
        from acdc_pipeline.store import open_store
        from acdc_pipeline.workflows.sweep import plan_sweep, sweep_status

        results = open_store(store, listener=IndexNotes())
        profile = settings.profile
        plan = plan_sweep(
            spec,
            dtype=profile.dtype,
            shard=part,
            on_size=_note_if_large,
            spread_over=profile.shards,
        )
        return results, sweep_status(plan, results)


def _note_if_large(runs: int) -> None:
    if runs >= _LARGE_SWEEP:
        memory = format_size(runs * _BYTES_PER_RUN)
        print_note(f"{runs:,} runs to plan: this takes a while, and about {memory}")


def print_cached(status: SweepStatus) -> None:
    """Print on stderr how many runs of a sweep are in the store."""
    if cached := len(status.runs("cached")):
        print_note(
            f"{cached} of {pluralize(len(status.plan.runs), 'run')} are in the store already"
        )


def execute_with_progress(
    runs: Sequence[PlannedRun],
    results: Store,
    settings: ExecutionSettings,
    *,
    resume_command: str | None,
) -> list[Outcome]:
    """Execute `runs`, show progress, and return the outcomes in the order they came.

    If the work is interrupted or the store fails, the command that continues it is printed, unless
    the store is temporary (None); committed runs stay in the store.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        StoreError: the store cannot be written, or stopped working meanwhile.
    """
    outcomes: list[Outcome] = []
    if not runs:
        return outcomes
    results.check_writable()
    # libraries take seconds to load; without this line a log would be empty meanwhile
    print_note(f"{pluralize(len(runs), 'run')} to do")
    try:
        with show_status("getting ready"):
            executor = make_executor(settings)
            if leaves_gpu_idle(settings):
                print_note(
                    f"note: the GPU of this machine stays idle: profile '{settings.name}' has no "
                    "gpus (--device cuda uses it)"
                )
        with (
            show_sweep_progress(runs) as listener,
            closing(execute_runs(runs, results, executor, listener)) as executed,
        ):
            for outcome in executed:
                outcomes.append(outcome)
    except (KeyboardInterrupt, StoreFailed):
        if resume_command is not None:
            done = sum(outcome.state != "failed" for outcome in outcomes)
            print_note(
                f"{done} of {len(runs)} done and in the store; continue with: {resume_command}"
            )
        raise
    return outcomes
