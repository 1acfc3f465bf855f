"""Where the time of a search goes: `python -m benchmarks.breakdown`."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from acdc_pipeline.models import resolve_device
from benchmarks.case import GPT2_SMALL, SMALL
from benchmarks.engine_side import bench_of, search
from benchmarks.measurement import machine

KINDS = {
    "matrix products": ("mm", "bmm", "addmm", "baddbmm", "dot", "mv"),
    "activations, exp and softmax": ("gelu", "silu", "relu", "expm1", "exp", "_softmax", "tanh"),
    "norms": ("native_layer_norm", "rms_norm", "rsqrt", "mean"),
    "sums and differences": ("add", "add_", "sub", "mul", "mul_", "sum", "log1p"),
    "copies and gathers": ("copy_", "cat", "stack", "index", "index_select", "fill_", "zero_"),
}
REST = "Python, small operations, the profiler itself"


def kinds(profiled: profile) -> dict[str, float]:
    """Seconds by kind of operation."""
    kind_of = {f"aten::{name}": kind for kind, names in KINDS.items() for name in names}
    seconds: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        kind = kind_of.get(event.key)
        if kind is not None:
            seconds[kind] += event.self_cpu_time_total / 1e6
    return seconds


def main() -> None:
    """Profile one search per threshold and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=["small", "gpt2"], default="small")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[2e-3, 1e-3, 5e-5])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    case = {"small": SMALL, "gpt2": GPT2_SMALL}[options.shape]
    bench = bench_of(case, options.folder, "cpu")
    search(bench, 1.0)
    print(f"{case.name}; {machine(resolve_device('cpu'))}")
    for threshold in options.thresholds:
        started = time.perf_counter()
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            result = search(bench, threshold)
        total = time.perf_counter() - started
        share = len(result.circuit) / bench.weights.topology.n_edges
        print(f"τ {threshold:.0e}, {share:.1%} kept, {total:.2f} s")
        seconds = kinds(profiled)
        seconds[REST] = total - sum(seconds.values())
        for kind in (*KINDS, REST):
            print(f"  {seconds[kind] / total:>6.1%}  {kind}")


if __name__ == "__main__":
    main()
