"""Circuits selected greedily and otherwise from the same scores: `python -m benchmarks.selection`.

Edges are scored by one method on some prompts; circuits of MIB's fractions of the edges are
selected by each rule (docs/methods.md, "Selection"), and measured on fresh prompts. Printed are the
faithfulness at each fraction, CMD (lower is better; 0 is best), CPR (higher is better), the
seconds of the scores and of the selections.

    python -m benchmarks.selection --model zoo:gpt2-4l-s0 --task ioi --method eap-ig-inputs
    python -m benchmarks.selection --shape 30 9

The second form times integer programs on a graph of that shape, with random scores of heavy tails.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from acdc_pipeline.engine import set_up
from acdc_pipeline.evaluation import (
    FRACTIONS,
    circuit_model_distance,
    circuit_performance_ratio,
    circuits_from_scores,
    measure_curve,
    measure_scale,
)
from acdc_pipeline.execution.problem import BenchProblem
from acdc_pipeline.execution.worker import prompts_for
from acdc_pipeline.graph import Topology
from acdc_pipeline.graph.cut import cut_masks
from acdc_pipeline.graph.integer_program import best_circuit
from acdc_pipeline.models import load_model
from acdc_pipeline.specs import SCORED_METHODS, find_task, method_for

MEMORY = 2 * 2**30

RULES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "ilp": {"select": "ilp"},
    "positive 0.9": {"positive_share": 0.9},
    "positive 0.95": {"positive_share": 0.95},
    "positive 1": {"positive_share": 1.0},
    "signs 1000": {"sign_filter": 1000},
    "ilp, positive 1": {"select": "ilp", "positive_share": 1.0},
    "ilp, signs 1000": {"select": "ilp", "sign_filter": 1000},
    "ilp, positive 1, signs 1000": {
        "select": "ilp",
        "positive_share": 1.0,
        "sign_filter": 1000,
    },
}


def compare(options: argparse.Namespace) -> None:
    """Print a row for each rule."""
    task = find_task(options.task)
    model = load_model(options.model, dtype="float32", device="cpu")
    drawn = [prompts_for(model, task, n=options.prompts, seed=seed) for seed in (0, 1)]
    bench, fresh = (set_up(model.weights, prompts, "corrupted") for prompts in drawn)
    scale = measure_scale(fresh, options.metric)
    print(f"{options.task} on {options.model}, {options.method}, {options.metric}")
    print(f"{'rule':30} {'CMD':>6} {'CPR':>6} {'s':>5} {'s cut':>6}  faithfulness at", end="")
    print("".join(f"{fraction:>7g}" for fraction in FRACTIONS))
    for rule, parameters in RULES.items():
        given = {"share": 1.0, "metric": options.metric, **parameters}
        method = method_for(options.method, given, task, where="benchmark")
        assert isinstance(method, tuple(SCORED_METHODS.values()))
        start = time.perf_counter()
        scores = BenchProblem(bench, MEMORY).scores(method, 0, lambda _: None)
        scored = time.perf_counter()
        circuits = circuits_from_scores(bench.weights.topology, scores, method.selection)
        seconds = time.perf_counter() - scored
        points = measure_curve(fresh, scale, circuits)
        areas = circuit_model_distance(points), circuit_performance_ratio(points)
        print(
            f"{rule:30} {areas[0]:6.3f} {areas[1]:6.3f} {scored - start:5.1f} {seconds:6.2f}",
            end="",
        )
        print(" " * 17 + "".join(f"{point.faithfulness:7.2f}" for point in points), flush=True)


def time_programs(layers: int, heads: int) -> None:
    """Print the seconds and the gap of integer programs on a graph of some shape."""
    topology = Topology(layers, heads, has_mlp=True)
    scores = np.random.default_rng(0).standard_t(2, topology.n_edges)
    print(f"{layers} layers of {heads} heads: {topology.n_edges:,} edges")
    for fraction in FRACTIONS[:-1]:
        size = max(1, int(fraction * topology.n_edges))
        start = time.perf_counter()
        (greedy,) = cut_masks(topology, scores, [size], "magnitude")
        between = time.perf_counter()
        found = best_circuit(topology, scores, size, "magnitude")
        end = time.perf_counter()
        sums = np.abs(scores[greedy]).sum(), np.abs(scores[found.mask]).sum()
        print(
            f"{fraction:g}: {size:,} edges, greedy {between - start:.2f} s, sum {sums[0]:.2f}; "
            f"program {end - between:.2f} s, sum {sums[1]:.2f}, gap {found.gap:.1e}",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="zoo:gpt2-4l-s0")
    parser.add_argument("--task", default="ioi")
    parser.add_argument("--method", default="eap-ig-inputs")
    parser.add_argument("--metric", default="logit_diff")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--shape", type=int, nargs=2, metavar=("LAYERS", "HEADS"))
    options = parser.parse_args()
    if options.shape is None:
        compare(options)
    else:
        time_programs(*options.shape)


if __name__ == "__main__":
    main()
