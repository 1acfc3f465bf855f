"""Runs: planned, executed, committed."""

from acdc_pipeline.execution.check import ModelCheck, check_model
from acdc_pipeline.execution.discover import discover_into, execute
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.progress import Progress, Silent
from acdc_pipeline.execution.worker import Worker

__all__ = [
    "ModelCheck",
    "Progress",
    "Silent",
    "Worker",
    "check_model",
    "discover_into",
    "execute",
    "plan_run",
]
