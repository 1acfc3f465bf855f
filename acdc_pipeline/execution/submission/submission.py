"""A sweep made ready for a cluster: what it is called there, and the command that executes it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acdc_pipeline import __version__
from acdc_pipeline.execution.submission.bundle import PROFILE, SWEEP, Bundle
from acdc_pipeline.execution.submission.job import PREFIX
from acdc_pipeline.execution.submission.version import VARIABLE
from acdc_pipeline.specs import sha256_of

DIGITS = 20


@dataclass(frozen=True)
class Submission:
    """What is asked of a cluster.

    Args:
        bundle: the files that travel.
        store: where the job keeps its runs.
        entrypoint: the shell command of the driver.
    """

    bundle: Bundle
    store: str
    entrypoint: str

    @property
    def id(self) -> str:
        """The job's id, before any further attempt: the same for the same submission.

        It is made of the sweep, its tasks, the profile, the store and the version of this
        package. The command is no part of it: `--retry-failed` asks for the same runs.
        """
        identity = self.bundle.identity() | {"store": self.store, "version": __version__}
        return PREFIX + sha256_of(identity)[:DIGITS]

    @property
    def metadata(self) -> dict[str, str]:
        """What the cluster's dashboard shows beside the job."""
        return {
            "acdc_sweep": self.bundle.sweep.name,
            "acdc_store": self.store,
            "acdc_version": __version__,
        }

    @property
    def runtime_env(self) -> Mapping[str, Any]:
        """The worker profile's own, without the working folder."""
        return self.bundle.profile.plain()["runtime_env"]


def run_command(store: str, *more: str) -> str:
    """The shell command that executes a bundle in the folder where it lies.

    Args:
        store: where runs are kept.
        more: further options of `acdc run`.
    """
    words = ["python", "-m", "acdc_pipeline", "run", SWEEP, "--executor", "ray"]
    words += ["--profile", PROFILE, "--store", store, *more]
    return f"{VARIABLE}={shlex.quote(__version__)} {shlex.join(words)}"
