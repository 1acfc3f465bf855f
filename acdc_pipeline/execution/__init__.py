"""Runs: planned, executed, committed.

Names are loaded when they are first used: what only talks to a cluster needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {
    "ModelCheck": "check",
    "Progress": "progress",
    "Silent": "progress",
    "Worker": "worker",
    "check_model": "check",
    "discover_into": "discover",
    "execute": "discover",
    "plan_run": "plan",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'acdc_pipeline.execution' has no attribute '{name}'")
    return getattr(import_module(f"acdc_pipeline.execution.{_MODULES[name]}"), name)
