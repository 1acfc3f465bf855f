"""How cost grows: `python -m benchmarks.scaling` varies one thing at a time around one case."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from acdc_pipeline.models import resolve_device
from benchmarks.case import SMALL, Case
from benchmarks.engine_side import bench_of, search
from benchmarks.measurement import machine, peak_bytes

VARIED: dict[str, tuple[int, ...]] = {
    "layers": (2, 4, 6, 8),
    "heads": (2, 4, 8, 16),
    "prompts": (4, 8, 16, 32),
    "tokens": (8, 15, 30, 60),
}
SPARSITY = (3e-3, 1e-3, 3e-4, 1e-4, 3e-5)


def row(case: Case, threshold: float, folder: Path, device: str) -> str:
    """One search, as a line of the table."""
    bench = bench_of(case, folder, device)
    search(bench, 1.0)
    started = time.perf_counter()
    result = search(bench, threshold)
    seconds = time.perf_counter() - started
    tested, kept = len(result.decisions), len(result.circuit)
    share = kept / bench.weights.topology.n_edges
    peak = peak_bytes(resolve_device(device)) / 2**20
    return (
        f"{case.name:<22}{case.prompts:>4} x {case.tokens:<4}{threshold:>8.0e}{tested:>8,}"
        f"{kept:>7,}{share:>8.1%}{seconds:>9.2f}{1e6 * seconds / tested:>10,.0f}{peak:>10,.0f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--threshold", type=float, default=1e-3)
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine(resolve_device(options.device)))
    print(
        f"{'shape':<22}{'prompts':>11}{'τ':>8}{'tested':>8}{'kept':>7}{'share':>8}"
        f"{'seconds':>9}{'µs/edge':>10}{'peak MiB':>10}"
    )
    for name, values in VARIED.items():
        print(f"-- {name}")
        for value in values:
            case = replace(SMALL, **{name: value})
            print(row(case, options.threshold, options.folder, options.device), flush=True)
    print("-- sparsity")
    for threshold in SPARSITY:
        print(row(SMALL, threshold, options.folder, options.device), flush=True)


if __name__ == "__main__":
    main()
