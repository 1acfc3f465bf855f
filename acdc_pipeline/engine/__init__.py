"""The edge-patching executor: a functional forward on the surviving subgraph."""

from acdc_pipeline.engine.circuit_forward import run_circuit
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
    "set_up",
]
