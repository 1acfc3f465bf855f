"""This package's side."""

from __future__ import annotations

from pathlib import Path

import torch

from acdc_pipeline.algorithms import AcdcResult, acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.models import load_model, resolve_device
from benchmarks.case import Case
from benchmarks.measurement import Measurement, peak_bytes, timed

MEMORY = 2 * 2**30


def bench_of(case: Case, folder: Path, device: str, dtype: str = "float32") -> Bench:
    """The case's model at work on its prompts."""
    model = load_model(f"dir:{case.save_model(folder)}", dtype=dtype, device=device)
    return set_up(model.weights, case.make_prompts(), "corrupted")


def search(bench: Bench, threshold: float, memory: int = MEMORY) -> AcdcResult:
    """One exact search."""
    with torch.no_grad():
        return acdc(
            bench.search(objective_for(bench, "kl"), memory=memory),
            bench.weights.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
        )


def measure_engine(
    case: Case,
    folder: Path,
    thresholds: list[float],
    device: str,
    repeats: int,
    dtype: str = "float32",
) -> list[Measurement]:
    """The engine's measurement at each threshold, the clean and corrupted runs included."""
    resolved = resolve_device(device)
    side = "engine" if dtype == "float32" else f"engine {dtype[0]}{dtype[-2:]}"
    bench = bench_of(case, folder, device, dtype)
    search(bench, thresholds[0])
    out = []
    for threshold in thresholds:
        results: list[AcdcResult] = []

        def once(threshold: float = threshold, results: list[AcdcResult] = results) -> None:
            fresh = set_up(bench.weights, case.make_prompts(), "corrupted")
            results.append(search(fresh, threshold))

        seconds = timed(once, repeats, resolved)
        kept = frozenset(str(edge) for edge in results[0].circuit.edges)
        tested = len(results[0].decisions)
        out.append(
            Measurement(side, threshold, tested, kept, seconds, repeats, peak_bytes(resolved))
        )
    return out
