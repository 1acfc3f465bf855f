"""Which version of this package a job was submitted with, and which executes it."""

from __future__ import annotations

from collections.abc import Mapping

from acdc_pipeline import __version__

VARIABLE = "ACDC_SUBMITTED_WITH"
"""Tells a driver the version of whoever submitted it."""


def other_version(environment: Mapping[str, str]) -> str | None:
    """What to say where the cluster has another version than the machine that submitted the job.

    None where the versions are equal, and outside of jobs.
    """
    submitted = environment.get(VARIABLE, __version__)
    if submitted == __version__:
        return None
    return (
        f"submitted with acdc {submitted}, executed by acdc {__version__}, which this cluster "
        "has: a file that one of them takes may be refused by the other"
    )
