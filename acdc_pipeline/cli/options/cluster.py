"""Options and words of the commands that talk to a cluster."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.options.shared import source_of
from acdc_pipeline.cli.terminal.output import note
from acdc_pipeline.cli.terminal.streams import flush, put
from acdc_pipeline.cli.terminal.words import clock
from acdc_pipeline.errors import AcdcError

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
        metavar="JOB", help="A job's id, or the first characters of one; 'acdc status' lists them."
    ),
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow",
        help="Show the job's log as it is written, and end with the job's exit code. Ctrl-C ends "
        "the following, not the job.",
    ),
]


class StillRunning(AcdcError):
    """Whoever followed a job has seen enough; the job goes on."""

    exit_code = 130


def address_of(context: typer.Context) -> ClusterAddress:
    """The cluster that `--address` or a setting names. Raises InvalidInput."""
    from acdc_pipeline.execution.submission import find_address

    return find_address(context.params["address"], source_of(context, "address"), os.environ)


def cluster_at(address: ClusterAddress) -> Cluster:
    """The cluster that answers at `address`. Raises InvalidInput or ExecutionFailed."""
    from acdc_pipeline.execution.submission import find_token, reach

    return reach(address, lambda: find_token(os.environ, Path.home()))


def jobs_of(cluster: Cluster) -> Jobs:
    """Its jobs. Imports ray."""
    from acdc_pipeline.execution.submission.jobs import Jobs

    return Jobs(cluster)


def same_address(context: typer.Context) -> str:
    """What a command that is suggested needs behind it to ask the cluster of this one."""
    source = context.get_parameter_source("address")
    if source is None or source.name != "COMMANDLINE":
        return ""
    return f" --address {shlex.quote(context.params['address'])}"


def follow_to_the_end(
    jobs: Jobs, job: Job, write: Callable[[str], None], context: typer.Context
) -> Job:
    """Hands the job's log to `write` until it is over, and says how it ended.

    Raises:
        StillRunning: on Ctrl-C.
        ExecutionFailed: the cluster has gone.
    """
    from acdc_pipeline.execution.submission.follow import follow

    if job.state == "pending":
        note("waiting for the cluster to start the job; Ctrl-C ends the following, not the job")
    try:
        job = follow(jobs, job.id, write, lambda text: note(f"[{text}]"))
    except KeyboardInterrupt:
        command = f"acdc logs {job.id} --follow{same_address(context)}"
        raise StillRunning(
            f"{job.id} goes on; only the following has ended",
            fix=f"'{command}' follows it again, 'acdc cancel {job.id}{same_address(context)}' "
            "stops it",
        ) from None
    note(how_it_ended(job))
    return job


def how_it_ended(job: Job) -> str:
    """A line about a job that is over."""
    after = runtime(job, time.time())
    text = f"{job.id}: {job.state}" + (f" after {after}" if after else "")
    if job.exit_code:
        text += f", exit code {job.exit_code}"
    return text + (f"\n{job.cause}" if job.cause else "")


def runtime(job: Job, now: float) -> str:
    """How long a job has run by `now` (Unix seconds); empty if it has not started."""
    return "" if job.started is None else clock(max(0.0, (job.ended or now) - job.started))


def job_document(job: Job, now: float) -> dict[str, Any]:
    """What `--json` says of a job; times in UTC, `exit_code` as `--follow` ends with it."""
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


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def note_other_version() -> None:
    """In a job that was submitted from another version of this package: says so on stderr."""
    from acdc_pipeline.execution.submission import other_version

    if said := other_version(os.environ):
        note(f"note: {said}")


def put_now(text: str) -> None:
    """A part of the answer on stdout that somebody may be waiting for."""
    put(text)
    flush()
