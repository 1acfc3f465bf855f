"""Arguments of the public functions: other forms that are taken, and what errors advise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acdc_pipeline.errors import InvalidInput, SpecError, UnknownName, shorten_value
from acdc_pipeline.specs import CircuitMethod, TaskSpec, find_task, method_for

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.graph.files.circuit_file import CircuitFile

OTHER_NAMES: Mapping[str, str] = {
    "top_n": "edges",
    "topn": "edges",
    "n_edges": "edges",
    "ig_steps": "steps",
    "n_steps": "steps",
    "n_prompts": "prompts",
    "num_examples": "prompts",
    "intervention": "ablation",
    "tau": "threshold",
    "random_seed": "seed",
}
"""What other packages call an argument of `discover`."""

GENERAL = ("metric", "prompts", "seed", "dtype", "device", "memory", "store", "faithful")
"""Arguments of `discover` that are no parameters of a method."""

_REFERENCES = ("zoo:", "hf:", "dir:", "gguf:")

_FROM_PAIRS = "Task.from_pairs([(clean, corrupted, correct, incorrect), …])"


def as_task(task: object, where: str) -> TaskSpec:
    """Return a task as it is, by its name, or made of prompt pairs by `Task.from_pairs`.

    Raises:
        UnknownName: there is no such task.
        SpecError: the task is not valid.
        InvalidInput: a value of another type, or the name of a model or of a table.
    """
    if isinstance(task, TaskSpec):
        return task
    if not isinstance(task, str | Path):
        try:
            return TaskSpec.from_pairs(task)
        except SpecError as error:
            error.fix = error.fix or f"give the name of a task, or {_FROM_PAIRS}"
            raise
    name = str(task)
    if name.startswith(_REFERENCES):
        raise InvalidInput(
            f"'{name}' is a model",
            where=where,
            field="task",
            fix=f"give a task, such as 'ioi', here, and '{name}' as the model",
        )
    if name.endswith((".csv", ".tsv", ".json", ".parquet", ".txt")):
        raise InvalidInput(
            f"'{name}' is not a file of prompt pairs",
            where=where,
            field="task",
            allowed="the name of a task, a task folder, or a .jsonl of prompt pairs",
            fix="write a .jsonl, or read the table and give Task.from_pairs(table, columns=…)",
        )
    return find_task(name)


def check_circuit(circuit: object, where: str) -> Circuit | CircuitFile:
    """Return a circuit, or what `load_circuit` read. Raises InvalidInput for anything else."""
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.graph.files.circuit_file import CircuitFile

    if isinstance(circuit, Circuit | CircuitFile):
        return circuit
    raise InvalidInput(
        f"'{shorten_value(circuit)}' is not a circuit",
        where=where,
        field="circuit",
        fix="load_circuit(path, model) reads a file, Circuit.of(load_model(model).topology, edges) "
        "makes a circuit of edges or their names",
    )


def plain_circuit(circuit: object, where: str) -> Circuit:
    """Return a circuit of whole nodes, given as one or as what `load_circuit` read.

    Raises:
        GraphError: it has neuron masks.
        InvalidInput: as `check_circuit`.
    """
    from acdc_pipeline.graph import Circuit

    given = check_circuit(circuit, where)
    return given if isinstance(given, Circuit) else given.whole_nodes(where)


def dtype_name(dtype: object) -> str:
    """Return the name of a type that is given by its name or as one of torch (`torch.float32`)."""
    return str(dtype).removeprefix("torch.")


def choose_method(name: str, given: Mapping[str, Any], task: TaskSpec) -> CircuitMethod:
    """Return the method called `name` with the parameters given to `discover`.

    Raises:
        UnknownName, SpecError: as `method_for`; the fix is in terms of Python.
    """
    try:
        return method_for(name, given, task, where="discover")
    except UnknownName:
        raise
    except SpecError as error:
        if error.field == "threshold" and error.problem == "is missing":
            error.fix = "add threshold=0.01, or faithful=0.9 for the smallest circuit of that "
            error.fix += "faithfulness"
        elif error.problem.endswith("has no such parameter"):
            error.allowed = f"{error.allowed}; with every method {', '.join(GENERAL)}"
            if (ours := OTHER_NAMES.get(error.field or "")) is not None:
                error.fix = f"it is called {ours} here"
        raise
