"""How near the engine is to the arithmetic it cannot avoid: `python -m benchmarks.floor`.

Exact ACDC has to evaluate one state per tested edge, and in each the surviving subgraph that the
edge reaches, and the unembedding at the answers. The floor counts just those matrix products (a
run without speculation performs no others), and divides them by the machine's matrix rate,
measured in the same process on products of the same shapes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.models import resolve_device
from benchmarks.case import GPT2_SMALL, SMALL
from benchmarks.engine_side import MEMORY, bench_of, search
from benchmarks.measurement import machine, peak_bytes, timed


@dataclass(frozen=True)
class Floor:
    """Operations of one search.

    Args:
        needed: with one state per tested edge.
        done: as the engine did it, wrong guesses included.
        states_per_edge: states evaluated per edge tested.
    """

    needed: float
    done: float
    states_per_edge: float


def count(bench: Bench, threshold: float) -> Floor:
    """Operations of the matrix products of one search."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        state = bench.search(objective_for(bench, "kl"), memory=MEMORY)
        result = acdc(
            state,
            bench.weights.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
        )
    done = float(counter.get_total_flops())
    states_per_edge = state.states_evaluated / len(result.decisions)
    return Floor(done / states_per_edge, done, states_per_edge)


def matrix_rate(bench: Bench, device: torch.device, states: int = 8) -> float:
    """Operations per second of products shaped as the engine's own: rows x d_model x 4 d_model."""
    rows = states * bench.layout.batch * bench.layout.pos
    x = torch.randn(rows, bench.weights.d_model, device=device)
    w = torch.randn(bench.weights.d_model, 4 * bench.weights.d_model, device=device)
    repeats = 20

    def products() -> None:
        for _ in range(repeats):
            torch.mm(x, w)

    products()
    seconds = timed(products, 5, device)
    return 2.0 * rows * w.numel() * repeats / seconds


def main() -> None:
    """Count, time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=["small", "gpt2"], default="small")
    parser.add_argument("--thresholds", type=float, nargs="+", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    case = {"small": SMALL, "gpt2": GPT2_SMALL}[options.shape]
    bench = bench_of(case, options.folder, options.device)
    rate = matrix_rate(bench, device)
    print(f"{case.name}, {case.prompts} prompts x {case.tokens} tokens; {machine(device)}")
    print(f"matrix rate {rate / 1e9:,.0f} GFLOP/s")
    header = f"{'τ':>8}{'kept':>8}{'needed':>14}{'states/edge':>12}"
    print(f"{header}{'floor s':>9}{'took s':>8}{'x floor':>9}{'peak MiB':>10}")
    for threshold in options.thresholds:
        floor = count(bench, threshold)
        started = time.perf_counter()
        result = search(bench, threshold)
        took = time.perf_counter() - started
        share = len(result.circuit) / bench.weights.topology.n_edges
        least = floor.needed / rate
        print(
            f"{threshold:>8.0e}{share:>8.1%}{floor.needed / 1e9:>8,.0f} GFLOP"
            f"{floor.states_per_edge:>11.2f}{least:>9.1f}{took:>8.1f}{took / least:>8.2f}x"
            f"{peak_bytes(device) / 2**20:>10,.0f}"
        )


if __name__ == "__main__":
    main()
