"""The jobs of a cluster, through Ray's job client. Importing this imports ray."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient, JobType

from acdc_pipeline.errors import ExecutionFailed, SpecError
from acdc_pipeline.execution.submission.cluster import (
    PATIENCE,
    Cluster,
    unreachable,
    wrong_token,
)
from acdc_pipeline.execution.submission.job import PREFIX, Job, JobState

_STATES: Mapping[str, JobState] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "STOPPED": "stopped",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
}

# Both would win over the address that a client is given.
_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")

# They tell what is uploaded under which hash, and that a log has come to its end.
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)


class _Client(JobSubmissionClient):
    """Ray's client, which would wait for ever for a server that has stopped answering."""

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        super().__init__(address, headers=headers)
        if self._ssl_context is None:
            # what aiohttp calls the usual check; it warns of None
            self._ssl_context = True

    def _do_request(self, method: str, endpoint: str, **more: Any) -> requests.Response:
        return super()._do_request(method, endpoint, timeout=PATIENCE, **more)


class Jobs:
    """Reads, submits and stops the jobs of one cluster.

    Every method raises InvalidInput where the cluster has gone or refuses the token, and
    ExecutionFailed where it fails to do what it was asked for.

    Args:
        cluster: as `reach` found it.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.ERROR)
        with _without(_ADDRESSES), self._errors():
            # The token goes along as a header: Ray reads RAY_AUTH_MODE once, on import.
            self._client = _Client(cluster.address.url, dict(cluster.headers))

    def all(self) -> tuple[Job, ...]:
        """Every job that `acdc submit` made, oldest first."""
        with self._errors():
            details = self._client.list_jobs()
        ours = [_job(d) for d in details if _is_ours(d)]
        return tuple(sorted(ours, key=lambda job: (job.started or 0.0, job.id)))

    def find(self, job_id: str) -> Job | None:
        """The job of that id, None where there is none."""
        with self._errors():
            try:
                return _job(self._client.get_job_info(job_id))
            except RuntimeError as error:
                if "status code 404" in str(error):
                    return None
                raise

    def submit(
        self,
        job_id: str,
        folder: Path,
        entrypoint: str,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
    ) -> None:
        """Starts a job.

        Args:
            job_id: never used on this cluster before.
            folder: what becomes the job's working folder.
            entrypoint: shell command of the driver.
            runtime_env: everything else about its surroundings.
            metadata: shown beside it.

        Raises:
            SpecError: Ray does not take this runtime environment.
        """
        with self._errors():
            try:
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=job_id,
                    runtime_env={**runtime_env, "working_dir": str(folder)},
                    metadata=dict(metadata),
                )
            except (TypeError, ValueError, FileNotFoundError) as error:
                # RequestException and what it wraps are OSErrors or ValueErrors too
                if isinstance(error, requests.exceptions.RequestException):
                    raise
                raise SpecError(
                    f"Ray does not take it: {error}", where="worker profile", field="runtime_env"
                ) from error

    def stop(self, job_id: str) -> None:
        """Asks a job to stop. It has not stopped yet when this returns."""
        with self._errors():
            self._client.stop_job(job_id)

    def log(self, job_id: str) -> str:
        """Everything that the driver has written so far."""
        with self._errors():
            return self._client.get_job_logs(job_id)

    def tail(self, job_id: str) -> AsyncIterator[str]:
        """The log from its beginning, in pieces, as it is written.

        It may end, or raise what Ray's client raises, whenever the connection does.
        """
        return self._client.tail_job_logs(job_id)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """What goes wrong inside, in our form."""
        address = self.cluster.address
        try:
            yield
        except AuthenticationError as error:
            raise wrong_token(address, self.cluster.token) from error
        except (requests.exceptions.RequestException, ConnectionError) as error:
            raise unreachable(address, error) from error
        except RuntimeError as error:
            raise ExecutionFailed(_last_line(str(error)), where=address.url) from error


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
    """What a server's traceback comes down to."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removesuffix(".") if lines else "the cluster failed to answer"


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
