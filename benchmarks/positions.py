"""What positions cost and change: `python -m benchmarks.positions`.

ACDC with the spans of the task beside ACDC without positions, at the same thresholds in one
process: edges tested in a second, faithfulness, and how many connections of two nodes the circuit
has. Then the ranking of connections by |EAP-IG|: how many of the best 1 % differ if the scores of a
connection are not summed over spans, where they may cancel, but counted by the largest of them
(Haklay et al. 2025, arXiv 2502.04577, report 17 % for IOI).

    python -m benchmarks.positions --model gguf:FILE --prompts 16 --thresholds 0.1
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acdc_pipeline.algorithms import AcdcResult, ScoringProblem, acdc, score_edges
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import (
    circuit_logits,
    differentiable_objective_for,
    measure,
    objective_for,
)
from acdc_pipeline.execution.worker import prompts_for
from acdc_pipeline.graph import Edge
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.specs import find_task, method_for
from acdc_pipeline.specs.names import Positions
from benchmarks.measurement import machine

MEMORY = 4 * 2**30
SHARE = 0.01


class TimedObjective:
    """KL, and the seconds that it has taken: what no graph can save, once for each state."""

    def __init__(self, bench: Bench) -> None:
        self.objective: Any = objective_for(bench, "kl")
        self.seconds = 0.0

    def __call__(self, final: Tensor) -> Tensor:
        """The KL of states by their final streams."""
        started = time.perf_counter()
        values = self.objective(final)
        self.seconds += time.perf_counter() - started
        return values


@dataclass(frozen=True)
class Search:
    """One search: its result, and the median of its seconds, and of those that KL takes of them."""

    positions: Positions
    threshold: float
    result: AcdcResult
    seconds: float
    of_kl: float
    faithfulness: float


def bench_of(model: LoadedModel, task: str, prompts: int, positions: Positions) -> Bench:
    """The model on prompts with these positions."""
    made = prompts_for(model, find_task(task), n=prompts, seed=0, positions=positions)
    return set_up(model.weights, made, "corrupted")


def search(bench: Bench, positions: Positions, threshold: float, repeats: int) -> Search:
    """Search `repeats` times, and measure the circuit."""
    seconds, of_kl, found = [], [], None
    with torch.no_grad():
        for _ in range(repeats):
            objective: Any = TimedObjective(bench)
            started = time.perf_counter()
            found = acdc(
                bench.search(objective, memory=MEMORY),
                bench.weights.topology,
                threshold=threshold,
                order="reverse-heads",
                difference="signed",
            )
            seconds.append(time.perf_counter() - started)
            of_kl.append(objective.seconds)
        assert found is not None
        empty, kept = (
            measure(bench, circuit_logits(bench, edges), ["kl"])["kl"]
            for edges in ((), found.circuit.edges)
        )
    medians = statistics.median(seconds), statistics.median(of_kl)
    return Search(positions, threshold, found, *medians, 1 - kept / empty)


def edge_scores(bench: Bench, method: str) -> dict[Edge, float]:
    """The scores of every edge by a method of attribution, in KL."""
    settings: Any = method_for(method, {"share": 1.0}, find_task("ioi"), where="benchmark")
    problem = ScoringProblem(
        bench=bench,
        objective=objective_for(bench, settings.metric),
        differentiable=differentiable_objective_for(bench, settings.metric),
        seed=0,
        memory=MEMORY,
        advance=lambda _: None,
    )
    return score_edges(problem, settings)


def reranked(bench: Bench) -> float:
    """The share of the best 1 % of connections that positions exchange."""
    summed: dict[str, float] = {}
    largest: dict[str, float] = {}
    for edge, score in edge_scores(bench, "eap-ig-inputs").items():
        name = str(edge).partition("@")[0]
        summed[name] = summed.get(name, 0.0) + score
        largest[name] = max(largest.get(name, 0.0), abs(score))
    count = max(1, round(SHARE * len(summed)))
    best = [
        set(sorted(scores, key=lambda name: -abs(scores[name]))[:count])
        for scores in (summed, largest)
    ]
    return 1 - len(best[0] & best[1]) / count


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="zoo:gpt2-4l-s0")
    parser.add_argument("--task", default="ioi")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument(
        "--thresholds", default="0.1,0.03,0.01,0.003", help="'' for the ranking alone"
    )
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    model = load_model(arguments.model, device="cpu")
    kinds: tuple[Positions, ...] = ("none", "spans")
    benches = {
        positions: bench_of(model, arguments.task, arguments.prompts, positions)
        for positions in kinds
    }
    spans = benches["spans"].weights.topology.spans
    print(machine(torch.device("cpu")))
    print(
        f"{arguments.task} in {model.ref}, {arguments.prompts} prompts; {len(spans)} spans: "
        + ", ".join(spans)
    )
    print(
        f"{'threshold':>9}  {'positions':9}  {'edges':>8}  {'tested':>7}  {'kept':>5}  "
        f"{'connections':>11}  {'seconds':>8}  {'of KL':>6}  {'tested/s':>8}  {'faithfulness':>12}"
    )
    for threshold in [float(one) for one in arguments.thresholds.split(",") if one]:
        found = [
            search(benches[positions], positions, threshold, arguments.repeats)
            for positions in kinds
        ]
        for one in found:
            circuit = one.result.circuit
            tested = len(one.result.decisions)
            print(
                f"{threshold:9g}  {one.positions:9}  {circuit.topology.n_edges:8,}  {tested:7,}  "
                f"{len(circuit):5,}  {len(circuit.collapse()):11,}  "
                f"{one.seconds:8.2f}  {one.of_kl:6.2f}  "
                f"{tested / one.seconds:8,.0f}  {one.faithfulness:12.3f}",
                flush=True,
            )
        plain, spread = found
        print(
            f"{'':9}  {'ratio':9}  "
            f"{spread.result.circuit.topology.n_edges / plain.result.circuit.topology.n_edges:8.1f}"
            f"  {len(spread.result.decisions) / len(plain.result.decisions):7.1f}  "
            f"{'':5}  {'':11}  {spread.seconds / plain.seconds:8.1f}  "
            f"{spread.of_kl / plain.of_kl:6.1f}"
        )
    share = reranked(benches["spans"])
    print(f"best {SHARE:.0%} of connections by |eap-ig-inputs|: {share:.0%} differ with positions")


if __name__ == "__main__":
    main()
