"""`acdc status`, `acdc logs`, `acdc cancel`: submitted sweeps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.terminal.output import print_facts, print_json, print_line, print_note
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.streams import flush_stdout, write_stdout
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import format_clock
from acdc_pipeline.errors import AcdcError
from acdc_pipeline.text import NONE

if TYPE_CHECKING:
    from acdc_pipeline.execution.submission import Cluster, ClusterAddress, Job
    from acdc_pipeline.execution.submission.jobs import Jobs

Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="ACDC_ADDRESS",
        show_envvar=False,
        help="The cluster's dashboard, as in http://127.0.0.1:8265. Default: ACDC_ADDRESS, else "
        "'address' of acdc.yaml, else Ray's RAY_API_SERVER_ADDRESS or RAY_ADDRESS.",
    ),
]
JobName = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="A job id, or its first characters; 'acdc status' lists them."
    ),
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow",
        help="Show the job's log as it is written, and exit with the job's exit code. Ctrl-C stops "
        "following, not the job.",
    ),
]

COLUMNS = (
    Column("job"),
    Column("sweep", "name", rank=1),
    Column("state"),
    Column("started", rank=3),
    Column("runtime", "number", rank=2),
    Column("exit code", "number", rank=4),
)


class StillRunning(AcdcError):
    """Following a job was interrupted; the job continues."""

    exit_code = 130


def status(
    context: typer.Context,
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="A job id, or its first characters.")
    ] = None,
    address: Address = None,
    json: shared.Json = False,
) -> None:
    """Show the state of submitted sweeps: all of a cluster, or one.

    \b
    Examples:
      acdc status --address http://127.0.0.1:8265
      acdc status acdc-3f2a --json
    """
    jobs = _connect(context)
    now = time.time()
    with show_status("asking for jobs"):
        known = jobs.all()
    if job is None:
        newest_first = known[::-1]
        if json:
            print_json({"jobs": [job_document(found, now) for found in newest_first]})
        elif not known:
            print_note("no sweep has been submitted to this cluster")
        else:
            print_table(COLUMNS, [_row(found, now) for found in newest_first])
        return
    from acdc_pipeline.execution.submission import find_job

    found = find_job(job, known)
    if json:
        print_json(job_document(found, now))
        return
    print_facts(_facts(found, now))
    if found.cause:
        print_line(f"\n{found.cause}")
    where = shared.repeat_option(context, "address")
    print_line(f"\nIts log: acdc logs {found.id}{'' if found.is_over else ' --follow'}{where}")


def logs(
    context: typer.Context,
    job: JobName,
    address: Address = None,
    follow: Follow = False,
) -> None:
    """Show the log of a submitted sweep.

    \b
    Examples:
      acdc logs acdc-3f2a
      acdc logs acdc-3f2a --follow
    """
    jobs = _connect(context)
    found = _find_job(jobs, job)
    if follow:
        if code := follow_job(jobs, found, write_at_once, context).exit_code:
            raise typer.Exit(code)
        return
    log = jobs.log(found.id)
    write_at_once(log)
    if not log:
        print_note(f"{found.id}: {found.state}, no log yet")


def cancel(
    context: typer.Context,
    job: JobName,
    address: Address = None,
    json: shared.Json = False,
) -> None:
    """Stop a submitted sweep, and wait until it has stopped.

    Runs in the store stay there; submitting the sweep again continues from them. A job that has
    ended is left as it is.

    Example: acdc cancel acdc-3f2a
    """
    jobs = _connect(context)
    found = _find_job(jobs, job)
    with show_status(f"stopping {found.id}"):
        from acdc_pipeline.execution.submission.jobs import cancel as cancel_job

        ended = cancel_job(jobs, found)
    if json:
        print_json(job_document(ended, time.time()))
        return
    already = ", as it was before" if found.is_over else ""
    print_line(f"{ended.id}: {ended.state}{already}")


def read_address(context: typer.Context) -> ClusterAddress:
    """Return the cluster that `--address` or a setting names. Raises InvalidInput."""
    from acdc_pipeline.execution.submission import find_address

    source = shared.option_source(context, "address")
    return find_address(context.params["address"], source, os.environ)


def reach_cluster(address: ClusterAddress) -> Cluster:
    """Return the cluster that answers at `address`. Raises InvalidInput or ExecutionFailed."""
    from acdc_pipeline.execution.submission import find_token, reach

    return reach(address, lambda: find_token(os.environ, Path.home()))


def follow_job(jobs: Jobs, job: Job, write: Callable[[str], None], context: typer.Context) -> Job:
    """Pass the job's log to `write` until the job ends, and print how it ended.

    Raises StillRunning if Ctrl-C was pressed, ExecutionFailed if the cluster has gone.
    """
    from acdc_pipeline.execution.submission.follow import follow

    if job.state == "pending":
        print_note("waiting for the cluster to start the job; Ctrl-C stops following, not the job")
    try:
        job = follow(jobs, job.id, write, lambda text: print_note(f"[{text}]"))
    except KeyboardInterrupt:
        where = shared.repeat_option(context, "address")
        raise StillRunning(
            f"{job.id} continues; only following has stopped",
            fix=f"'acdc logs {job.id} --follow{where}' follows it again, "
            f"'acdc cancel {job.id}{where}' stops it",
        ) from None
    runtime = _runtime(job, time.time())
    text = f"{job.id}: {job.state}" + (f" after {runtime}" if runtime else "")
    if job.exit_code:
        text += f", exit code {job.exit_code}"
    print_note(text + (f"\n{job.cause}" if job.cause else ""))
    return job


def write_at_once(text: str) -> None:
    """Write to stdout and flush, for a reader who is waiting."""
    write_stdout(text)
    flush_stdout()


def job_document(job: Job, now: float) -> dict[str, Any]:
    """Return a job as JSON data; times in UTC, `exit_code` as `--follow` exits with it."""
    return {
        "job": job.id,
        "state": job.state,
        "sweep": job.metadata.get("acdc_sweep"),
        "store": job.metadata.get("acdc_store"),
        "version": job.metadata.get("acdc_version"),
        "started": _utc(job.started),
        "ended": _utc(job.ended),
        "seconds": None if job.started is None else (job.ended or now) - job.started,
        "exit_code": job.exit_code,
        "driver_exit_code": job.driver_exit_code,
        "message": job.message,
    }


def print_version_note() -> None:
    """Print a note in a job that was submitted by another version of this package."""
    from acdc_pipeline.execution.submission import other_version

    if text := other_version(os.environ):
        print_note(f"note: {text}")


def _connect(context: typer.Context) -> Jobs:
    address = read_address(context)
    with show_status(f"asking {address.url}"):
        from acdc_pipeline.execution.submission.jobs import Jobs

        return Jobs(reach_cluster(address))


def _find_job(jobs: Jobs, name: str) -> Job:
    from acdc_pipeline.execution.submission import find_job

    return find_job(name, jobs.all())


def _row(job: Job, now: float) -> dict[str, str]:
    return {
        "job": job.id,
        "sweep": job.metadata.get("acdc_sweep", NONE),
        "state": job.state,
        "started": _local(job.started),
        "runtime": _runtime(job, now) or NONE,
        "exit code": NONE if job.exit_code is None else str(job.exit_code),
    }


def _facts(job: Job, now: float) -> dict[str, str]:
    facts = _row(job, now)
    facts |= {"store": job.metadata.get("acdc_store", NONE), "message": job.message.strip()}
    order = ("job", "sweep", "store", "state", "started", "runtime", "exit code", "message")
    optional = {"exit code": job.exit_code is not None, "message": bool(facts["message"])}
    return {name: facts[name] for name in order if optional.get(name, True)}


def _runtime(job: Job, now: float) -> str:
    """Return how long a job has run by `now` (Unix seconds); empty if it has not started."""
    if job.started is None:
        return ""
    return format_clock(max(0.0, (job.ended or now) - job.started))


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _local(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
