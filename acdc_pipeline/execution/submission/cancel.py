"""Cancelling a job, to the end."""

from __future__ import annotations

import time

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.execution.submission.job import Job
from acdc_pipeline.execution.submission.jobs import Jobs

_SECONDS_BETWEEN_LOOKS = 0.5


def cancel(jobs: Jobs, job: Job) -> Job:
    """Stops `job` and gives it as it is once it is over. A job that is over stays as it is.

    Ray lets a driver three seconds to end by itself; a run that was not finished is not in the
    store.

    Raises:
        ExecutionFailed: the cluster does not know the job any more.
    """
    while not job.is_over:
        # once is not enough for a job that was only about to start
        jobs.stop(job.id)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        found = jobs.find(job.id)
        if found is None:
            raise ExecutionFailed("the cluster does not know this job any more", where=job.id)
        job = found
    return job
