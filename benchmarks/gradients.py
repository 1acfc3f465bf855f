"""What the scores of all edges cost: `python -m benchmarks.gradients`.

A GPT-2-small-shaped model of random weights, 32 prompts of 15 tokens. Seconds and peak memory are
of one process from the model's file to the scores; the scoring methods are timed one by one.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from acdc_pipeline.algorithms import SCORERS, Question
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.models import load_model, resolve_device
from acdc_pipeline.specs import METHODS, ScoredMethod, parse
from benchmarks.case import GPT2_SMALL, SMALL
from benchmarks.measurement import machine, peak_bytes

SHAPES = {"gpt2": replace(GPT2_SMALL, prompts=32), "small": replace(SMALL, prompts=32)}
MEMORY = 2**30
"""The budget of a method beside the weights and the outputs of all sources."""
GIB = 2**30
USUAL: dict[str, Any] = {
    "metric": "logit_diff",
    "ablation": "corrupted",
    "share": 0.05,
    "edges": None,
    "rank": "magnitude",
    "steps": 5,
    "learning_rate": 0.1,
    "penalty": 1.0,
}


def seconds_of(name: str, bench: Bench, memory: int) -> float:
    """How long one method takes to score every edge."""
    method = scored_method(name)
    started = time.perf_counter()
    question = Question(
        bench=bench,
        objective=objective_for(bench, method.metric),
        differentiable=differentiable_objective_for(bench, method.metric),
        seed=0,
        memory=memory,
        advance=lambda share: None,
    )
    scores = SCORERS[name](question, method)
    assert len(scores) == bench.weights.topology.n_edges
    return time.perf_counter() - started


def scored_method(name: str) -> ScoredMethod:
    """A method with the values it usually has."""
    kind = METHODS[name]
    values = USUAL | {"name": name}
    method = parse({f: v for f, v in values.items() if f in kind.model_fields}, kind, "benchmark")
    assert isinstance(method, ScoredMethod)
    return method


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="gpt2")
    parser.add_argument("--methods", nargs="+", choices=SCORERS, default=["eap", "eap-ig-inputs"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory", type=int, default=MEMORY, help="bytes")
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    case = SHAPES[options.shape]
    print(machine(device))
    model = load_model(f"dir:{case.save_model(options.folder)}", device=str(device))
    loaded = peak_bytes(device)
    started = time.perf_counter()
    bench = set_up(model.weights, case.make_prompts(), "corrupted")
    seconds = time.perf_counter() - started
    edges = bench.weights.topology.n_edges
    print(f"{case.name}, {case.prompts} x {case.tokens} tokens, {edges:,} edges")
    print(f"{'':<22}{'seconds':>9}{'peak GiB':>10}")
    print(f"{'model loaded':<22}{'':>9}{loaded / GIB:>10.2f}")
    print(f"{'two forwards':<22}{seconds:>9.2f}{peak_bytes(device) / GIB:>10.2f}")
    for name in options.methods:
        seconds = seconds_of(name, bench, options.memory)
        print(f"{name:<22}{seconds:>9.2f}{peak_bytes(device) / GIB:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
