from .api import discover, evaluate, export, load_task, profile_heads
from .api_sweeps import build_wiki, regress, sweep
from .found_circuit import FoundCircuit
from .graph import Circuit
from .graph.files.circuit_file import CircuitFile
from .models import load_model
from .specs.own_metric import Metric
from .specs.prompt_pair import PromptPair
from .specs.task import Task
from .store import open_store
from .workflows.circuit_run import compute_logits, patch_model
from .workflows.load_circuit import load_circuit

__all__ = [
    "Circuit",
    "CircuitFile",
    "FoundCircuit",
    "Metric",
    "PromptPair",
    "Task",
    "build_wiki",
    "compute_logits",
    "discover",
    "evaluate",
    "export",
    "load_circuit",
    "load_model",
    "load_task",
    "open_store",
    "patch_model",
    "profile_heads",
    "regress",
    "sweep",
]

__version__: str
