from .bench import Bench, set_up
from .circuit_forward import run_circuit, run_circuits
from .objectives import KlObjective, LogprobObjective, Objective
from .parity import check_parity, parity_error

__all__ = [
    "Bench",
    "KlObjective",
    "LogprobObjective",
    "Objective",
    "check_parity",
    "parity_error",
    "run_circuit",
    "run_circuits",
    "set_up",
]
