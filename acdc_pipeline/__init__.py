"""Automated circuit discovery as a distributed pipeline.

    from acdc_pipeline import discover

    circuit = discover("ioi", "zoo:gpt2-4l-s0", threshold=0.01)
    circuit.strongest(3), circuit.metrics["kl"]
    circuit.draw().save("ioi.svg")

Names are loaded when they are first used: importing the package alone loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from acdc_pipeline.api import discover, evaluate
    from acdc_pipeline.found_circuit import FoundCircuit
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.models import load_model
    from acdc_pipeline.specs import find_task as load_task
    from acdc_pipeline.store import open_store

__all__ = [
    "Circuit",
    "FoundCircuit",
    "discover",
    "evaluate",
    "load_model",
    "load_task",
    "open_store",
]

_HOMES = {
    "Circuit": ("acdc_pipeline.graph", "Circuit"),
    "FoundCircuit": ("acdc_pipeline.found_circuit", "FoundCircuit"),
    "discover": ("acdc_pipeline.api", "discover"),
    "evaluate": ("acdc_pipeline.api", "evaluate"),
    "load_model": ("acdc_pipeline.models", "load_model"),
    "load_task": ("acdc_pipeline.specs", "find_task"),
    "open_store": ("acdc_pipeline.store", "open_store"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'acdc_pipeline' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
