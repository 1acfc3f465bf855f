"""The edge-patching executor: a functional forward on the surviving subgraph.

Names are loaded when they are first used: who only plans a search's memory needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acdc_pipeline.engine.circuit_forward import run_circuit, run_circuits
    from acdc_pipeline.engine.kl_objective import KlObjective
    from acdc_pipeline.engine.objective import LogprobObjective, Objective
    from acdc_pipeline.engine.parity import check_parity, parity_error
    from acdc_pipeline.engine.search import Search
    from acdc_pipeline.engine.setup import Bench, set_up

__all__ = [
    "Bench",
    "KlObjective",
    "LogprobObjective",
    "Objective",
    "Search",
    "check_parity",
    "parity_error",
    "run_circuit",
    "run_circuits",
    "set_up",
]

_MODULES = {
    "Bench": "setup",
    "KlObjective": "kl_objective",
    "LogprobObjective": "objective",
    "Objective": "objective",
    "Search": "search",
    "check_parity": "parity",
    "parity_error": "parity",
    "run_circuit": "circuit_forward",
    "run_circuits": "circuit_forward",
    "set_up": "setup",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'acdc_pipeline.engine' has no attribute '{name}'")
    return getattr(import_module(f"acdc_pipeline.engine.{_MODULES[name]}"), name)
