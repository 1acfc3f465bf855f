"""`acdc submit`: a sweep as a job of a Ray cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.commands import jobs as job_commands
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options import sweep as sweep_options
from acdc_pipeline.cli.terminal.output import print_facts, print_json, print_line, print_note
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.streams import reserve_stdout, write_stderr
from acdc_pipeline.cli.terminal.text import format_size
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from acdc_pipeline.execution.submission import Cluster, ClusterAddress, Submission
    from acdc_pipeline.execution.submission.jobs import Submitted

DEFAULT_PROFILE = "auto"
"""The worker profile where none is named."""


def submit(
    context: typer.Context,
    sweep: sweep_options.SweepName,
    address: job_commands.Address = None,
    profile: sweep_options.ProfileName = DEFAULT_PROFILE,
    store: shared.StoreUrl = None,
    follow: job_commands.Follow = False,
    retry_failed: sweep_options.RetryFailed = False,
    shared_disk: Annotated[
        bool,
        typer.Option(
            "--shared-disk",
            help="The nodes of the cluster have the store and the dir: and gguf: models under the "
            "same paths as this machine.",
        ),
    ] = False,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Submit even to a cluster that runs the jobs of anyone who can reach it.",
        ),
    ] = False,
    json: shared.Json = False,
) -> None:
    """Execute SWEEP as a job of a Ray cluster.

    The sweep, the tasks it names and the worker profile are sent along. The same sweep, tasks,
    profile and store are the same job: submitting it again finds the job, and starts another
    attempt only if it failed or was cancelled. Runs in the store are not executed again.

    \b
    Examples:
      acdc submit zoo --address http://127.0.0.1:8265 --store s3://bucket/runs --follow
      acdc submit deploy/sweeps/paper.yaml --profile cluster
    """
    with reserve_stdout():
        place = job_commands.read_address(context)
        with show_status(f"reading {sweep}"):
            submission = _submission(sweep, profile, store, retry_failed)
        if not shared_disk:
            _check_disk(submission, place)
        with show_status(f"asking {place.url}"):
            from acdc_pipeline.execution.submission import check_protected
            from acdc_pipeline.execution.submission.jobs import Jobs
            from acdc_pipeline.execution.submission.jobs import submit as submit_job

            cluster = job_commands.reach_cluster(place)
            if not insecure:
                check_protected(cluster)
            jobs = Jobs(cluster)
        with show_status(f"submitting {submission.bundle.sweep.name}"):
            submitted = submit_job(jobs, submission, lambda: _check_room(submission, cluster))
    if not json:
        _show(submission, submitted, cluster)
        if not follow:
            _suggest(submitted, shared.repeat_option(context, "address"))
    job = submitted.job
    if follow:
        # with --json, stdout holds the document alone
        write = write_stderr if json else job_commands.write_at_once
        job = job_commands.follow_job(jobs, job, write, context)
    if json:
        print_json(
            {
                **job_commands.job_document(job, time.time()),
                "present": submitted.state == "present",
                "address": place.url,
                "files": sorted(submission.bundle.files),
                "bytes": submission.bundle.size,
            }
        )
    if follow and job.exit_code:
        raise typer.Exit(job.exit_code)


def _submission(sweep: str, profile: str, store: str | None, retry_failed: bool) -> Submission:
    from acdc_pipeline.execution.submission import Submission, bundle_of, run_command
    from acdc_pipeline.execution.submission.portability import check_models, located_store
    from acdc_pipeline.models import list_zoo
    from acdc_pipeline.store import default_location

    bundle = bundle_of(sweep, profile)
    bundle.sweep.model_refs(list_zoo())
    check_models(bundle.sweep)
    place = located_store(store or default_location(os.environ, Path.cwd()))
    command = run_command(place, *(["--retry-failed"] if retry_failed else []))
    return Submission(bundle, place, command)


def _check_disk(submission: Submission, place: ClusterAddress) -> None:
    """Raise InvalidInput if the job needs this machine's disk and the cluster runs elsewhere."""
    from acdc_pipeline.execution.submission.portability import needs_this_disk

    problem = needs_this_disk(submission.bundle.sweep, submission.store)
    if problem is None:
        return
    if not place.is_loopback:
        raise problem
    what = "the store" if "://" not in submission.store else "a model"
    print_note(
        f"note: {what} is a folder of this machine, which a cluster behind a tunnel cannot read"
    )


def _check_room(submission: Submission, cluster: Cluster) -> None:
    """Raise InvalidInput if the cluster lacks resources for the workers of the profile."""
    from acdc_pipeline.execution.submission.room import check_room

    check_room(cluster, submission.bundle.profile, lambda text: print_note(f"note: {text}"))


def _show(submission: Submission, submitted: Submitted, cluster: Cluster) -> None:
    job, bundle = submitted.job, submission.bundle
    present = f" (submitted before: {job.state})" if submitted.state == "present" else ""
    print_facts(
        {
            "job": job.id + present,
            "sweep": f"{bundle.sweep.name}: {pluralize(len(bundle.tasks), 'task')}, "
            f"sent as {pluralize(len(bundle.files), 'file')}, {format_size(bundle.size)}",
            "cluster": f"{cluster.address.url}, Ray {cluster.ray_version}"
            + ("" if cluster.token else ", open to everyone who can reach it"),
            "store": submission.store,
        }
    )
    print_line("")


def _suggest(submitted: Submitted, where: str) -> None:
    job = submitted.job
    if job.is_over:
        print_line(f"Its log: acdc logs {job.id}{where}")
        return
    print_line(f"Follow it: acdc logs {job.id} --follow{where}")
    print_line(f"Its state: acdc status {job.id}{where}")
