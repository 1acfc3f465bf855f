"""What the scores of all edges cost: `python -m benchmarks.gradients`.

A GPT-2-small-shaped model of random weights, 32 prompts of 15 tokens. Two forwards, clean and
corrupted, are what every method begins with; then the methods are timed one by one. Peak memory is
that of the process until then. Matrix products are counted too, in units of one forward, of which a
backward is about two.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from acdc_pipeline.algorithms import ScoringProblem, score_edges
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.models import load_model, resolve_device
from acdc_pipeline.specs import SCORED_METHODS, ScoredMethod, parse
from benchmarks.case import GPT2_SMALL, SMALL
from benchmarks.measurement import machine, peak_bytes

T = TypeVar("T")

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
    "points": 5,
    "combine": "mean",
    "grad_drop": "layers",
    "learning_rate": 0.1,
    "penalty": 1.0,
    "budget": None,
}


def score_every_edge(name: str, bench: Bench, memory: int) -> None:
    """Let one method score every edge."""
    method = scored_method(name)
    problem = ScoringProblem(
        bench=bench,
        objective=objective_for(bench, method.metric),
        differentiable=differentiable_objective_for(bench, method.metric),
        seed=0,
        memory=memory,
        advance=lambda share: None,
    )
    scores = score_edges(problem, method)
    assert len(scores) == bench.weights.topology.n_edges


def measured(work: Callable[[], T]) -> tuple[T, str, int]:
    """What `work` returns, its seconds on the clock and of all cores, and its operations."""
    with FlopCounterMode(display=False) as counter:
        started, busy = time.perf_counter(), time.process_time()
        done = work()
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return done, f"{seconds:>9.2f}{busy:>9.2f}", counter.get_total_flops()


def scored_method(name: str) -> ScoredMethod:
    """A method with the values it usually has."""
    kind = SCORED_METHODS[name]
    values = USUAL | {"name": name}
    return parse({f: v for f, v in values.items() if f in kind.model_fields}, kind, "benchmark")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="gpt2")
    parser.add_argument(
        "--methods", nargs="+", choices=SCORED_METHODS, default=["eap", "eap-ig-inputs"]
    )
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
    bench, seconds, operations = measured(
        lambda: set_up(model.weights, case.make_prompts(), "corrupted")
    )
    forward = operations / 2
    edges = bench.weights.topology.n_edges
    print(f"{case.name}, {case.prompts} x {case.tokens} tokens, {edges:,} edges")
    print(f"{'':<22}{'seconds':>9}{'CPU s':>9}{'forwards':>10}{'peak GiB':>10}")
    print(f"{'model loaded':<22}{'':>28}{loaded / GIB:>10.2f}")
    print(f"{'two forwards':<22}{seconds}{2.0:>10.1f}{peak_bytes(device) / GIB:>10.2f}")
    for name in options.methods:
        _, seconds, operations = measured(partial(score_every_edge, name, bench, options.memory))
        peak = peak_bytes(device) / GIB
        print(f"{name:<22}{seconds}{operations / forward:>10.1f}{peak:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
