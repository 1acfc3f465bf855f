"""Submitting: the same submission is the same job."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.execution.submission.job import Job, next_attempt
from acdc_pipeline.execution.submission.jobs import Jobs
from acdc_pipeline.execution.submission.submission import Submission


@dataclass(frozen=True)
class Submitted:
    """A job, and whether this submission started it or found it there."""

    job: Job
    state: Literal["started", "present"]


def submit(jobs: Jobs, submission: Submission) -> Submitted:
    """The job of `submission`: found, or started.

    A job that failed or was stopped is followed by a further attempt; any other one is this job.

    Raises:
        SpecError: what travels cannot be written, or Ray does not take the runtime environment.
        ExecutionFailed: the cluster does not take the job.
    """
    known = {job.id: job for job in jobs.all()}
    job_id = next_attempt(submission.id, known)
    if job_id in known:
        return Submitted(known[job_id], "present")
    with tempfile.TemporaryDirectory(prefix="acdc-submit-") as folder:
        submission.bundle.write(Path(folder))
        try:
            jobs.submit(
                job_id,
                Path(folder),
                submission.entrypoint,
                submission.runtime_env,
                submission.metadata,
            )
        except ExecutionFailed:
            # somebody else was faster with the same submission
            found = jobs.find(job_id)
            if found is None:
                raise
            return Submitted(found, "present")
    found = jobs.find(job_id)
    if found is None:
        raise ExecutionFailed("the cluster took the job and does not know it", where=job_id)
    return Submitted(found, "started")
