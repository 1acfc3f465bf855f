"""From a run to what its method found: one file for each way of going about it."""

from __future__ import annotations

from acdc_pipeline.execution.methods.acdc_run import run_acdc
from acdc_pipeline.execution.methods.job import Found, Job
from acdc_pipeline.execution.methods.scored_run import run_scored
from acdc_pipeline.execution.methods.screened_run import run_screened
from acdc_pipeline.specs import AcdcMethod, EapIgAcdcMethod, circuit_method

__all__ = ["Found", "Job", "find"]


def find(job: Job) -> Found:
    """Do what the method of `job` says, which finds a circuit."""
    method = circuit_method(job.run.method)
    if isinstance(method, AcdcMethod):
        return run_acdc(job, method)
    if isinstance(method, EapIgAcdcMethod):
        return run_screened(job, method)
    return run_scored(job, method)
