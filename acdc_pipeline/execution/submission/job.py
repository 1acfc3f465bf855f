"""A job on a cluster: one driver that executes one sweep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from acdc_pipeline.errors import InvalidInput, UnknownName, with_suggestion

PREFIX = "acdc-"

JobState = Literal["pending", "running", "stopped", "succeeded", "failed"]
"""`stopped`: somebody cancelled it."""

# What `acdc run` ends with. Python's own 1 (as where the package is missing) is not among them:
# here it would mean drift.
_OF_RUN = frozenset((0, 2, 3, 4))
_INCOMPLETE = 3
_NUMBERED = re.compile(r"(.+?)-(\d{1,4})\Z")


@dataclass(frozen=True)
class Job:
    """What a cluster knows about a job.

    Args:
        id: `acdc-` and 20 hex digits; a further attempt has `-2`, `-3`, … behind it.
        state: where it stands.
        message: the cluster's own words; of a failed job, the end of its log.
        started: Unix seconds; None before it was taken up.
        ended: Unix seconds; None while it is not over.
        driver_exit_code: of the driver; None while it runs, and where it never ran or was killed
            with the job.
        metadata: what `acdc submit` wrote to it: sweep, store and version.
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
        """Whether nothing more will happen."""
        return self.state in ("stopped", "succeeded", "failed")

    @property
    def exit_code(self) -> int | None:
        """What a command that followed the job ends with; None while it is not over.

        The driver's own code where that is one of `acdc run`, else 3: a driver that was killed, or
        never started, has not finished.
        """
        if not self.is_over:
            return None
        if self.state == "succeeded":
            return 0
        code = self.driver_exit_code
        return code if code in _OF_RUN and code != 0 else _INCOMPLETE

    @property
    def cause(self) -> str | None:
        """Why it ended, where that is not in its log in plain words."""
        code = self.driver_exit_code
        if self.state != "failed" or code in _OF_RUN:
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
    """The id to submit `base` under.

    It is that of the last attempt, unless that one failed or was stopped: then the number behind
    it is one more. An id can never be used twice on one cluster.
    """
    attempt, number = base, 1
    while attempt in known and known[attempt].state in ("failed", "stopped"):
        number += 1
        attempt = f"{base}-{number}"
    return attempt


def named(name: str, jobs: Iterable[Job]) -> Job:
    """The job that `name` means: an id, or the first characters of one.

    Of several attempts that begin with `name` it is the last.

    Raises:
        UnknownName: no such job; names the nearest.
        InvalidInput: jobs that have nothing to do with one another begin so.
    """
    by_id = {job.id: job for job in jobs}
    if name in by_id:
        return by_id[name]
    found = [key for key in by_id if name and key.startswith((name, PREFIX + name))]
    if not found:
        raise UnknownName(
            f"unknown job '{name}'",
            allowed=with_suggestion("a job that 'acdc status' lists", name, by_id),
        )
    if len({attempt_of(key)[0] for key in found}) > 1:
        raise InvalidInput(
            f"several jobs begin with '{name}'", allowed=", ".join(sorted(found)[:5])
        )
    return by_id[max(found, key=lambda key: attempt_of(key)[1])]


def attempt_of(job_id: str) -> tuple[str, int]:
    """The id of the first attempt, and which attempt this one is, counted from 1."""
    match = _NUMBERED.fullmatch(job_id.removeprefix(PREFIX))
    return (PREFIX + match[1], int(match[2])) if match else (job_id, 1)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
