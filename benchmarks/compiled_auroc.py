"""Every method on every compiled model: `python -m benchmarks.compiled_auroc`.

How well each tells the true edges from the others: the pessimistic area under the ROC curve, from
0 to 1. Methods that score edges are judged by their scores; those that return a circuit, by the
circuits at several thresholds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import pessimistic_auc, roc_of_circuits, roc_of_scores
from acdc_pipeline.execution.checkpoint import BoundCheckpoint, NoCheckpoint
from acdc_pipeline.execution.methods import PreparedRun, run_method
from acdc_pipeline.execution.problem import BenchProblem
from acdc_pipeline.execution.progress import Silent
from acdc_pipeline.graph import Circuit
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import METHODS, RunSpec, TaskSpec, circuit_method, find_task, method_for
from acdc_pipeline.specs.names import Positions

PROMPTS = 32
MEMORY = 2**30
THRESHOLDS = (1.0, 0.1, 0.01, 0.001)


def auroc(name: str, method: str, bench: Bench, task: TaskSpec) -> float:
    """The area of `method` on compiled model `name`, by span if the graph of `bench` has spans."""
    topology = bench.weights.topology
    edges = compiled.truth_with_spans(name) if topology.spans else compiled.truth(name)
    truth = Circuit(topology, edges)
    is_search = "threshold" in METHODS[method].parameters()
    sizes = [{"threshold": t} for t in THRESHOLDS] if is_search else [{}]
    circuits = []
    for size in sizes:
        run = RunSpec(
            task=task.name,
            task_hash=task.definition_hash(),
            model=f"zoo:{name}",
            model_revision="",
            method=method_for(method, size, task, where="benchmark"),
            prompts=len(bench.prompts),
            seed=0,
            dtype="float64",
        )
        prepared = PreparedRun(
            run, BenchProblem(bench, MEMORY), MEMORY, Silent(), BoundCheckpoint(NoCheckpoint(), {})
        )
        circuit = run_method(prepared).circuit
        if not is_search:
            rank = circuit_method(run.method).ranking
            return pessimistic_auc(roc_of_scores(circuit.scores, truth.edges, rank))
        circuits.append(circuit)
    return pessimistic_auc(roc_of_circuits(circuits, truth))


def bench_of(name: str, positions: Positions) -> tuple[Bench, TaskSpec]:
    """Compiled model `name` in float64 on the prompts of its task."""
    model = load_model(f"zoo:{name}", dtype="float64", device="cpu")
    assert model.tokenizer is not None, "compiled models have a tokenizer"
    task = find_task(compiled.task_of(name))
    prompts = make_prompts(task, model.tokenizer, n=PROMPTS, seed=0, positions=positions)
    return set_up(model.weights, prompts, "corrupted"), task


def table(
    programs: Sequence[str], methods: Sequence[str], kinds: Sequence[Positions]
) -> dict[str, dict[str, list[float]]]:
    """Areas by program and method, one for each kind of positions."""
    out: dict[str, dict[str, list[float]]] = {}
    for name in programs:
        benches = [bench_of(name, positions) for positions in kinds]
        out[name] = {method: [auroc(name, method, *one) for one in benches] for method in methods}
    return out


def markdown(found: dict[str, dict[str, list[float]]]) -> str:
    """The table with a row for each program."""
    methods = list(next(iter(found.values())))
    lines = ["| program | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for name, row in found.items():
        cells = " | ".join(" / ".join(f"{area:.3f}" for area in row[method]) for method in methods)
        lines.append(f"| {name.removeprefix('compiled-')} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table, and writes the figures where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [name.removeprefix("compiled-") for name in compiled.list_compiled()]
    parser.add_argument("--programs", nargs="*", default=names, choices=names, metavar="NAME")
    parser.add_argument(
        "--methods", nargs="*", default=list(METHODS), choices=list(METHODS), metavar="NAME"
    )
    parser.add_argument("--positions", nargs="+", default=["none"], choices=["none", "spans"])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    programs = [f"compiled-{name}" for name in arguments.programs]
    found = table(programs, arguments.methods, arguments.positions)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(markdown(found))


if __name__ == "__main__":
    main()
