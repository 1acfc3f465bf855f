"""A job on a cluster: one driver that executes one sweep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from acdc_pipeline.errors import InvalidInput, UnknownName, unknown

PREFIX = "acdc-"

JobState = Literal["pending", "running", "stopped", "succeeded", "failed"]
"""`stopped`: it was cancelled."""

# Exit codes of `acdc run`. 1 is not among them: Python exits with it too, for example if the
# package is missing.
_RUN_EXIT_CODES = frozenset((0, 2, 3, 4))
_INCOMPLETE = 3
_NUMBERED = re.compile(r"(.+?)-(\d{1,4})\Z")


@dataclass(frozen=True)
class Job:
    """A job as the cluster reports it.

    Args:
        id: `acdc-` and 20 hex digits; a further attempt ends in `-2`, `-3`, ….
        message: message of the cluster; for a failed job, the end of its log.
        started: Unix seconds; None before it starts.
        ended: Unix seconds; None before it is over.
        driver_exit_code: exit code of the driver; None while it runs, and if it never ran or was
            killed with the job.
        metadata: sweep, store and version, as `acdc submit` sent them.
    """

    id: str
    state: JobState
    message: str
    started: float | None
    ended: float | None
    driver_exit_code: int | None
    metadata: Mapping[str, str]

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in any way."""
        return self.state in ("stopped", "succeeded", "failed")

    @property
    def exit_code(self) -> int | None:
        """The exit code for a command that follows the job; None before it is over.

        The code of the driver if it is one of `acdc run`, else 3: a driver that was killed or never
        started has not finished.
        """
        if not self.is_over:
            return None
        if self.state == "succeeded":
            return 0
        code = self.driver_exit_code
        return code if code in _RUN_EXIT_CODES and code != 0 else _INCOMPLETE

    @property
    def cause(self) -> str | None:
        """Why it failed, if its log does not say so clearly."""
        code = self.driver_exit_code
        if self.state != "failed" or code in _RUN_EXIT_CODES:
            return None
        if re.search(r"No module named '?acdc_pipeline", self.message):
            return (
                "the cluster does not have acdc-pipeline: start its nodes from the image of "
                "deploy/docker, or name the package under runtime_env: pip of the worker profile"
            )
        if code is None:
            return _first_line(self.message) or "the driver was never started"
        if code == 127:
            return "the head node has no command 'python'"
        if code < 0 or code > 128:
            number = -code if code < 0 else code - 128
            memory = " (out of memory?)" if number == 9 else ""
            return f"the driver was killed by signal {number}{memory}"
        return f"the driver ended with exit code {code}"


def next_attempt(base: str, known: Mapping[str, Job]) -> str:
    """Return the id to submit `base` under.

    That of the last attempt, or the next number if that attempt failed or was stopped: an id can be
    used only once on a cluster.
    """
    attempt, number = base, 1
    while attempt in known and known[attempt].state in ("failed", "stopped"):
        number += 1
        attempt = f"{base}-{number}"
    return attempt


def find_job(name: str, jobs: Iterable[Job]) -> Job:
    """Return the job whose id is `name` or begins with it; of several attempts the last.

    Raises:
        UnknownName: no such job.
        InvalidInput: several unrelated jobs begin with `name`.
    """
    by_id = {job.id: job for job in jobs}
    if name in by_id:
        return by_id[name]
    found = [key for key in by_id if name and key.startswith((name, PREFIX + name))]
    if not found:
        raise UnknownName(unknown("job", name, by_id), allowed="a job that 'acdc status' lists")
    if len({attempt_of(key)[0] for key in found}) > 1:
        raise InvalidInput(
            f"several jobs begin with '{name}'", allowed=", ".join(sorted(found)[:5])
        )
    return by_id[max(found, key=lambda key: attempt_of(key)[1])]


def attempt_of(job_id: str) -> tuple[str, int]:
    """Return the id of the first attempt, and the number of this one, from 1."""
    match = _NUMBERED.fullmatch(job_id.removeprefix(PREFIX))
    return (PREFIX + match[1], int(match[2])) if match else (job_id, 1)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
