"""`acdc status`, `acdc logs`, `acdc cancel`: what becomes of submitted sweeps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.options import cluster as clusters
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.terminal.output import note, print_facts, print_json, say, stdout_kept_clean
from acdc_pipeline.cli.terminal.progress import waiting
from acdc_pipeline.cli.terminal.streams import flush, put
from acdc_pipeline.cli.terminal.tables import Column, print_table

if TYPE_CHECKING:
    from acdc_pipeline.execution.submission import Job
    from acdc_pipeline.execution.submission.jobs import Jobs

COLUMNS = (
    Column("job"),
    Column("sweep", "name", rank=1),
    Column("state"),
    Column("started", rank=3),
    Column("runtime", "number", rank=2),
    Column("exit code", "number", rank=4),
)
_NONE = "–"


def status(
    context: typer.Context,
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="A job's id, or the first characters of one."),
    ] = None,
    address: clusters.Address = None,  # noqa: ARG001  (read from the context)
    json: shared.Json = False,
) -> None:
    """Say how submitted sweeps stand: all of a cluster, or one.

    \b
    Examples:
      acdc status --address http://127.0.0.1:8265
      acdc status acdc-3f2a --json
    """
    jobs = _connected(context)
    now = time.time()
    with waiting("asking for jobs"):
        known = jobs.all()
    if job is None:
        _show_all(known, now, json)
        return
    from acdc_pipeline.execution.submission import named

    found = named(job, known)
    if json:
        print_json(clusters.job_document(found, now))
        return
    print_facts(_facts(found, now))
    if found.cause:
        say(f"\n{found.cause}")
    where = clusters.same_address(context)
    say(f"\nIts log: acdc logs {found.id}{'' if found.is_over else ' --follow'}{where}")


def logs(
    context: typer.Context,
    job: clusters.JobName,
    address: clusters.Address = None,  # noqa: ARG001  (read from the context)
    follow: clusters.Follow = False,
) -> None:
    """Show the log of a submitted sweep.

    \b
    Examples:
      acdc logs acdc-3f2a
      acdc logs acdc-3f2a --follow
    """
    jobs = _connected(context)
    found = _named(jobs, job)
    if follow:
        code = clusters.follow_to_the_end(jobs, found, clusters.put_now, context).exit_code
        if code:
            raise typer.Exit(code)
        return
    log = jobs.log(found.id)
    put(log)
    flush()
    if not log:
        note(f"{found.id}: {found.state}, and no log yet")


def cancel(
    context: typer.Context,
    job: clusters.JobName,
    address: clusters.Address = None,  # noqa: ARG001  (read from the context)
    json: shared.Json = False,
) -> None:
    """Stop a submitted sweep, and wait until it has stopped.

    What is in the store stays there; submitting the sweep again goes on from it. A job that is
    over stays as it is.

    Example: acdc cancel acdc-3f2a
    """
    jobs = _connected(context)
    found = _named(jobs, job)
    with stdout_kept_clean(), waiting(f"stopping {found.id}"):
        from acdc_pipeline.execution.submission.cancel import cancel as cancel_on

        ended = cancel_on(jobs, found)
    if json:
        print_json(clusters.job_document(ended, time.time()))
        return
    already = ", as it was before" if found.is_over else ""
    say(f"{ended.id}: {ended.state}{already}")


def _connected(context: typer.Context) -> Jobs:
    place = clusters.address_of(context)
    with stdout_kept_clean(), waiting(f"asking {place.url}"):
        return clusters.jobs_of(clusters.cluster_at(place))


def _named(jobs: Jobs, name: str) -> Job:
    from acdc_pipeline.execution.submission import named

    return named(name, jobs.all())


def _show_all(known: Sequence[Job], now: float, json: bool) -> None:
    newest_first = list(reversed(known))
    if json:
        print_json({"jobs": [clusters.job_document(job, now) for job in newest_first]})
    elif not known:
        note("no sweep was ever submitted to this cluster")
    else:
        print_table(COLUMNS, [_row(job, now) for job in newest_first])


def _row(job: Job, now: float) -> dict[str, str]:
    return {
        "job": job.id,
        "sweep": job.metadata.get("acdc_sweep", _NONE),
        "state": job.state,
        "started": _local(job.started),
        "runtime": clusters.runtime(job, now) or _NONE,
        "exit code": _NONE if job.exit_code is None else str(job.exit_code),
    }


def _facts(job: Job, now: float) -> dict[str, str]:
    facts = {
        "job": job.id,
        "sweep": job.metadata.get("acdc_sweep", _NONE),
        "store": job.metadata.get("acdc_store", _NONE),
        "state": job.state,
        "started": _local(job.started),
        "runtime": clusters.runtime(job, now) or _NONE,
    }
    if job.exit_code is not None:
        facts["exit code"] = str(job.exit_code)
    return facts | ({"message": job.message.strip()} if job.message.strip() else {})


def _local(seconds: float | None) -> str:
    if seconds is None:
        return _NONE
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
