"""Every method on every compiled model: `python -m benchmarks.compiled_auroc`.

How well each tells the true edges from the others: the area under the ROC curve, from 0 to 1.
Methods that score edges are judged by their scores; those that return a circuit, by the circuits at
several thresholds. The area is `pessimistic` (Conmy et al. 2023: edges of equal score count against
a method), `lines` (straight lines between points, equal scores count half: InterpBench, Gupta et
al. 2024, arXiv 2407.14494) or `ten-points` (the ten circuits that MIB measures). Where `tracr` is
installed, the programs of `benchmarks.tracr_programs` are judged too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import auc, pessimistic_auc, roc_of_circuits, roc_of_scores
from acdc_pipeline.evaluation.mib import mib_roc
from acdc_pipeline.graph import Circuit
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import METHODS, TaskSpec, find_task
from acdc_pipeline.specs.names import Positions
from benchmarks.searches import find_circuit, is_search
from benchmarks.tracr_programs import benches, why_not_installed

Area = Literal["pessimistic", "lines", "ten-points"]

PROMPTS = 32
THRESHOLDS = (1.0, 0.1, 0.01, 0.001)


def auroc(name: str, method: str, bench: Bench, task: TaskSpec, area: Area) -> float:
    """The area of `method` on compiled model `name`, by span if the graph of `bench` has spans."""
    topology = bench.weights.topology
    edges = compiled.truth_with_spans(name) if topology.spans else compiled.truth(name)
    return area_against(method, bench, task, f"zoo:{name}", Circuit(topology, edges), area)


def area_against(
    method: str, bench: Bench, task: TaskSpec, model: str, truth: Circuit, area: Area
) -> float:
    """The area of `method`, by its scores, or by its circuits at several thresholds."""
    thresholds = THRESHOLDS if is_search(method) else (None,)
    found = [find_circuit(method, task, bench, model=model, threshold=t) for t in thresholds]
    circuits, last = [one.circuit for one in found], found[-1]
    if is_search(method):
        points = roc_of_circuits(circuits, truth)
    elif area == "ten-points":
        points = mib_roc(truth.topology, last.circuit.scores, truth.edges)
    else:
        points = roc_of_scores(last.circuit.scores, truth.edges, last.rank)
    return pessimistic_auc(points) if area == "pessimistic" else auc(points)


def bench_of(name: str, positions: Positions) -> tuple[Bench, TaskSpec]:
    """Compiled model `name` in float64 on the prompts of its task."""
    model = load_model(f"zoo:{name}", dtype="float64", device="cpu")
    assert model.tokenizer is not None, "compiled models have a tokenizer"
    task = find_task(compiled.task_of(name))
    prompts = make_prompts(task, model.tokenizer, n=PROMPTS, seed=0, positions=positions)
    return set_up(model.weights, prompts, "corrupted"), task


def table(
    programs: Sequence[str], methods: Sequence[str], kinds: Sequence[Positions], area: Area
) -> dict[str, dict[str, list[float]]]:
    """Areas by program and method, one for each kind of positions."""
    out: dict[str, dict[str, list[float]]] = {}
    for name in programs:
        of_kinds = [bench_of(name, positions) for positions in kinds]
        out[name] = {
            method: [auroc(name, method, *one, area) for one in of_kinds] for method in methods
        }
    return out


def tracr_table(methods: Sequence[str], area: Area) -> dict[str, dict[str, list[float]]]:
    """The areas on programs of Tracr; none, and a line that says why, where it is missing."""
    if (reason := why_not_installed()) is not None:
        print(f"no programs of Tracr: {reason}", file=sys.stderr)
        return {}
    task = find_task("ioi")  # decides the usual metric alone
    return {
        f"tracr-{name}": {
            method: [area_against(method, bench, task, f"dir:{name}", truth, area)]
            for method in methods
        }
        for name, bench, truth in benches(PROMPTS)
    }


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
    parser.add_argument("--area", default="pessimistic", choices=get_args(Area))
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    programs = [f"compiled-{name}" for name in arguments.programs]
    found = table(programs, arguments.methods, arguments.positions, arguments.area)
    if arguments.positions == ["none"]:
        found |= tracr_table(arguments.methods, arguments.area)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(markdown(found))


if __name__ == "__main__":
    main()
