"""Submitting, reading and cancelling jobs with Ray's job client. Importing this imports ray."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient, JobType

from acdc_pipeline.errors import ExecutionFailed, SpecError
from acdc_pipeline.execution.submission.cluster import TIMEOUTS, Cluster, unreachable, wrong_token
from acdc_pipeline.execution.submission.job import PREFIX, Job, JobState, next_attempt
from acdc_pipeline.execution.submission.submission import Submission

_CANCEL_INTERVAL = 0.5
"""Seconds between two requests to stop a job."""

_STATES: Mapping[str, JobState] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "STOPPED": "stopped",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
}

# Both have precedence over the address that a client is given.
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")

# Loggers that report uploads and the end of logs.
_VERBOSE_LOGGERS = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)


class _Client(JobSubmissionClient):
    """Ray's client with timeouts: its own requests wait for ever."""

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        super().__init__(address, headers=headers)
        if self._ssl_context is None:
            # the default check, as aiohttp spells it; it warns of None
            self._ssl_context = True

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, timeout=TIMEOUTS, **options)


class Jobs:
    """Reads, submits and stops the jobs of one cluster.

    Every method raises InvalidInput if the cluster does not answer or refuses the token, and
    ExecutionFailed if the request fails.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        for name in _VERBOSE_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        with _without_variables(_ADDRESS_VARIABLES), self._errors():
            # The token is sent as a header: Ray reads RAY_AUTH_MODE only once, on import.
            self._client = _Client(cluster.address.url, dict(cluster.headers))

    def all(self) -> tuple[Job, ...]:
        """Return every job of `acdc submit`, oldest first."""
        with self._errors():
            details = self._client.list_jobs()
        ours = [_job(d) for d in details if _is_ours(d)]
        return tuple(sorted(ours, key=lambda job: (job.started or 0.0, job.id)))

    def find(self, job_id: str) -> Job | None:
        with self._errors():
            try:
                return _job(self._client.get_job_info(job_id))
            except RuntimeError as error:
                if "status code 404" in str(error):
                    return None
                raise

    def submit(self, job_id: str, folder: Path, submission: Submission) -> None:
        """Start a job.

        Args:
            job_id: an id that was never used on this cluster.
            folder: copied to the working folder of the job.
            submission: everything else.

        Raises:
            SpecError: Ray rejects the runtime environment.
        """
        with self._errors():
            try:
                self._client.submit_job(
                    entrypoint=submission.entrypoint,
                    submission_id=job_id,
                    runtime_env={**submission.runtime_env, "working_dir": str(folder)},
                    metadata=submission.metadata,
                )
            except (TypeError, ValueError, FileNotFoundError) as error:
                # RequestException and what it wraps are OSErrors or ValueErrors too
                if isinstance(error, requests.exceptions.RequestException):
                    raise
                raise SpecError(
                    f"Ray rejects it: {error}", where="worker profile", field="runtime_env"
                ) from error

    def stop(self, job_id: str) -> None:
        """Request that a job stops, without waiting for it."""
        with self._errors():
            self._client.stop_job(job_id)

    def log(self, job_id: str) -> str:
        with self._errors():
            return self._client.get_job_logs(job_id)

    def tail(self, job_id: str) -> AsyncIterator[str]:
        """Yield the log from its beginning, in pieces, as it is written.

        It may end, or raise errors of Ray's client, when the connection breaks.
        """
        return self._client.tail_job_logs(job_id)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate errors of requests into AcdcErrors."""
        address = self.cluster.address
        try:
            yield
        except AuthenticationError as error:
            raise wrong_token(address, self.cluster.token) from error
        except (requests.exceptions.RequestException, ConnectionError) as error:
            raise unreachable(address, error) from error
        except RuntimeError as error:
            raise ExecutionFailed(_last_line(str(error)), where=address.url) from error


@dataclass(frozen=True)
class Submitted:
    """A job, and whether this submission started it or found it."""

    job: Job
    state: Literal["started", "present"]


def submit(
    jobs: Jobs, submission: Submission, before_start: Callable[[], None] = lambda: None
) -> Submitted:
    """Start the job of `submission`, or find it: the same submission is the same job.

    After a job that failed or was stopped, a further attempt is started.

    Args:
        before_start: called before anything is sent, where the job has to be started.

    Raises:
        SpecError: the bundle cannot be written, or Ray rejects the runtime environment.
        ExecutionFailed: the cluster rejects the job.
    """
    known = {job.id: job for job in jobs.all()}
    job_id = next_attempt(submission.id, known)
    if job_id in known:
        return Submitted(known[job_id], "present")
    before_start()
    with tempfile.TemporaryDirectory(prefix="acdc-submit-") as folder:
        submission.bundle.write(Path(folder))
        try:
            jobs.submit(job_id, Path(folder), submission)
        except ExecutionFailed:
            # another process was faster with the same submission
            found = jobs.find(job_id)
            if found is None:
                raise
            return Submitted(found, "present")
    found = jobs.find(job_id)
    if found is None:
        raise ExecutionFailed("the cluster accepted the job but does not list it", where=job_id)
    return Submitted(found, "started")


def cancel(jobs: Jobs, job: Job) -> Job:
    """Stop `job` and return it once it is over.

    Ray gives the driver three seconds to end by itself; an unfinished run is not in the store.

    Raises:
        ExecutionFailed: the cluster does not know the job any more.
    """
    while not job.is_over:
        # repeated, since a job that is about to start ignores it
        jobs.stop(job.id)
        time.sleep(_CANCEL_INTERVAL)
        found = jobs.find(job.id)
        if found is None:
            raise ExecutionFailed("the cluster does not know this job any more", where=job.id)
        job = found
    return job


def _job(details: JobDetails) -> Job:
    return Job(
        id=details.submission_id or details.job_id or "",
        state=_STATES[str(details.status.value)],
        message=details.message or "",
        started=_seconds(details.start_time),
        ended=_seconds(details.end_time),
        driver_exit_code=details.driver_exit_code,
        metadata=dict(details.metadata or {}),
    )


def _is_ours(details: JobDetails) -> bool:
    name = details.submission_id or ""
    return details.type is JobType.SUBMISSION and name.startswith(PREFIX)


def _seconds(milliseconds: int | None) -> float | None:
    return None if not milliseconds else milliseconds / 1000


def _last_line(text: str) -> str:
    """Return the last line of a traceback of the server."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removesuffix(".") if lines else "the cluster failed to answer"


@contextlib.contextmanager
def _without_variables(names: tuple[str, ...]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
