"""`acdc submit`: a sweep as a job of a Ray cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.commands.run import SweepName
from acdc_pipeline.cli.options import cluster as clusters
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.terminal.output import note, print_facts, print_json, say, stdout_kept_clean
from acdc_pipeline.cli.terminal.progress import waiting
from acdc_pipeline.cli.terminal.streams import tell
from acdc_pipeline.cli.terminal.words import amount, counted
from acdc_pipeline.cli.workplace import ProfileName

if TYPE_CHECKING:
    from acdc_pipeline.execution.submission import Cluster, ClusterAddress, Submission
    from acdc_pipeline.execution.submission.submit import Submitted


def submit(
    context: typer.Context,
    sweep: SweepName,
    address: clusters.Address = None,  # noqa: ARG001  (read from the context)
    profile: ProfileName = "gpu",
    store: shared.StoreUrl = None,
    follow: clusters.Follow = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try what failed before once more.")
    ] = False,
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
            "--insecure", help="Submit to a cluster that runs the jobs of anyone who reaches it."
        ),
    ] = False,
    json: shared.Json = False,
) -> None:
    """Execute SWEEP as a job of a Ray cluster.

    What travels is the sweep, the tasks it names and the worker profile. The same sweep, tasks,
    profile and store are the same job: submitting it again finds it, and starts a further attempt
    only if it failed or was cancelled. Runs that are in the store are not executed again.

    \b
    Examples:
      acdc submit zoo --address http://127.0.0.1:8265 --store s3://bucket/runs --follow
      acdc submit deploy/sweeps/paper.yaml --profile cluster
    """
    with stdout_kept_clean():
        place = clusters.address_of(context)
        with waiting(f"reading {sweep}"):
            submission = _submission(sweep, profile, store, retry_failed)
        if not shared_disk:
            _check_disk(submission, place)
        with waiting(f"asking {place.url}"):
            found = _cluster(place, insecure)
            from acdc_pipeline.execution.submission.submit import submit as submit_to

            jobs = clusters.jobs_of(found)
        with waiting(f"submitting {submission.bundle.sweep.name}"):
            submitted = submit_to(jobs, submission)
    if not json:
        _show(context, submission, submitted, found, follow)
    job = submitted.job
    if follow:
        # With --json stdout is for the document alone.
        job = clusters.follow_to_the_end(jobs, job, tell if json else clusters.put_now, context)
    if json:
        print_json(
            {
                **clusters.job_document(job, time.time()),
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
    from acdc_pipeline.execution.submission.disk import check_models, located_store
    from acdc_pipeline.models import list_zoo
    from acdc_pipeline.store import default_location

    bundle = bundle_of(sweep, profile)
    bundle.sweep.model_refs(list_zoo())
    check_models(bundle.sweep)
    place = located_store(store or default_location(os.environ, Path.cwd()))
    command = run_command(place, *(["--retry-failed"] if retry_failed else []))
    return Submission(bundle, place, command)


def _check_disk(submission: Submission, place: ClusterAddress) -> None:
    """Raises InvalidInput where the job needs this disk and the cluster is elsewhere."""
    from acdc_pipeline.execution.submission.disk import needs_this_disk

    problem = needs_this_disk(submission.bundle.sweep, submission.store)
    if problem is None:
        return
    if not place.is_loopback:
        raise problem
    what = "the store" if "://" not in submission.store else "a model"
    note(f"note: {what} is a folder of this machine, where a cluster behind a tunnel has none")


def _cluster(place: ClusterAddress, insecure: bool) -> Cluster:
    from acdc_pipeline.execution.submission import check_protected

    found = clusters.cluster_at(place)
    if insecure:
        return found
    check_protected(found)
    return found


def _show(
    context: typer.Context,
    submission: Submission,
    submitted: Submitted,
    found: Cluster,
    follow: bool,
) -> None:
    job, bundle = submitted.job, submission.bundle
    there = f" (was there already: {job.state})" if submitted.state == "present" else ""
    facts: dict[str, Any] = {
        "job": job.id + there,
        "sweep": f"{bundle.sweep.name}: {counted(len(bundle.tasks), 'task')}, "
        f"sent as {counted(len(bundle.files), 'file')}, {amount(bundle.size)}",
        "cluster": f"{found.address.url}, Ray {found.ray_version}"
        + ("" if found.token else ", open to everyone who reaches it"),
        "store": submission.store,
    }
    print_facts(facts)
    say("")
    where = clusters.same_address(context)
    if job.is_over and not follow:
        say(f"Its log: acdc logs {job.id}{where}")
    elif not follow:
        say(f"Follow it: acdc logs {job.id} --follow{where}")
        say(f"How it stands: acdc status {job.id}{where}")
