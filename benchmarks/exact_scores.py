"""The exact effect of every edge of the real model: `python -m benchmarks.exact_scores --part 1 2`.

Each edge is a pass through the later layers, hours in all. Every metric is taken of the same
passes, on each prompt alone, so that resamples of the prompts need no further pass. What is
computed is kept by receiver in `--folder`: an interrupted run goes on where it stopped, and
processes of different parts share the work. `benchmarks.methods_table --methods exact` reads it,
and computes what is missing.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from acdc_pipeline.algorithms.scoring import EdgeScores
from acdc_pipeline.engine import Bench, KlObjective, LogprobObjective
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.files import write_bytes
from acdc_pipeline.graph import Edge, Receiver
from acdc_pipeline.models import load_model
from acdc_pipeline.specs.names import MetricName
from benchmarks.method_cells import bench_of
from benchmarks.real_model import fetch_model

BY: tuple[MetricName, ...] = ("logit_diff", "kl")
MEMORY = 2**30


@dataclass(frozen=True)
class ExactEffects:
    """The effects of all edges on each prompt, and what they cost.

    Args:
        effects: by metric, the objective without each edge less that of the model; higher is worse.
        operations: floating-point operations of matrix products, by KL alone.
        seconds: CPU seconds by metric, were it the only one.
    """

    edges: Sequence[Edge]
    effects: Mapping[MetricName, Float[np.ndarray, "edge prompt"]]
    operations: float
    seconds: Mapping[MetricName, float]

    def scores(self, metric: MetricName, numbers: Sequence[int] | None = None) -> EdgeScores:
        """The mean effect of each edge over the prompts of `numbers`, which may repeat, or all."""
        effects = self.effects[metric]
        chosen = effects if numbers is None else effects[:, list(numbers)]
        return dict(zip(self.edges, chosen.mean(-1).tolist(), strict=True))


class _EveryMetric:
    """An objective that keeps the values of each answer in every metric, and their seconds."""

    def __init__(self, bench: Bench) -> None:
        self.objectives: dict[MetricName, KlObjective | LogprobObjective] = {}
        for metric in BY:
            objective = objective_for(bench, metric)
            assert isinstance(objective, KlObjective | LogprobObjective)
            self.objectives[metric] = objective
        self.clear()

    def clear(self) -> None:
        """Forget what was kept."""
        self.values: dict[MetricName, list[Float[Tensor, "state answer"]]]
        self.values = {metric: [] for metric in BY}
        self.seconds: dict[MetricName, float] = dict.fromkeys(BY, 0.0)
        self.operations: dict[MetricName, int] = dict.fromkeys(BY, 0)

    def __call__(self, final: Float[Tensor, "state answer d_model"]) -> Float[Tensor, " state"]:
        for metric, objective in self.objectives.items():
            started = time.process_time()
            with FlopCounterMode(display=False) as counter:
                self.values[metric].append(objective.per_answer(final).to(torch.float64))
            self.operations[metric] += counter.get_total_flops()
            self.seconds[metric] += time.process_time() - started
        return self.values[BY[0]][-1].mean(-1)

    def kept(self) -> Float[np.ndarray, "metric state answer"]:
        """The values of all states so far."""
        return torch.stack([torch.cat(self.values[metric]) for metric in BY]).numpy()


def measure_effects(
    bench: Bench, folder: Path, part: int = 1, parts: int = 1
) -> ExactEffects | None:
    """Compute what `folder` lacks of one of several parts; the result if no part lacks any.

    Args:
        part: from 1 to `parts`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    topology = bench.weights.topology
    objective = _EveryMetric(bench)
    with torch.no_grad():
        removals = SingleRemovals(bench, objective, MEMORY)
        for number, receiver in enumerate(topology.receivers):
            file = folder / f"{number:05d}.npz"
            if number % parts == part - 1 and not file.exists():
                write_bytes(file, _measure(removals, objective, receiver))
                print(f"{receiver}: {number + 1} of {len(topology.receivers)}", flush=True)
        objective.clear()
        removals.whole()
    return _collect(bench, folder, objective.kept())


def _measure(removals: SingleRemovals, objective: _EveryMetric, receiver: Receiver) -> bytes:
    """The values of all edges into a receiver, with their cost, as a NumPy archive."""
    objective.clear()
    started = time.process_time()
    with FlopCounterMode(display=False) as counter:
        for _ in removals.without_edges(receiver):
            pass
    total = time.process_time() - started
    every = sum(objective.seconds.values())
    buffer = io.BytesIO()
    np.savez(
        buffer,
        values=objective.kept(),
        operations=counter.get_total_flops() - objective.operations["logit_diff"],
        seconds=[total - every + objective.seconds[metric] for metric in BY],
    )
    return buffer.getvalue()


def _collect(
    bench: Bench, folder: Path, whole: Float[np.ndarray, "metric one answer"]
) -> ExactEffects | None:
    """The effects of all edges; None if some receiver is missing."""
    topology = bench.weights.topology
    edges: list[Edge] = []
    values = []
    operations, seconds = 0.0, np.zeros(len(BY))
    for number, receiver in enumerate(topology.receivers):
        file = folder / f"{number:05d}.npz"
        if not file.exists():
            return None
        with np.load(file) as found:
            values.append(found["values"] - whole)
            operations += float(found["operations"])
            seconds += found["seconds"]
        edges += [Edge.into(source, receiver) for source in topology.sources_of(receiver)]
    by_metric = np.concatenate(values, axis=1)
    return ExactEffects(
        edges,
        dict(zip(BY, by_metric, strict=True)),
        operations,
        dict(zip(BY, seconds.tolist(), strict=True)),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs=2, type=int, default=(1, 1), metavar=("NUMBER", "PARTS"))
    parser.add_argument("--task", default="ioi")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".bench/methods-table"))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    model = load_model(f"gguf:{fetch_model()}", dtype="float32", device="cpu")
    bench = bench_of(model, asked.task, asked.prompts, asked.seed)
    folder = effects_folder(asked.folder, asked.task, asked.prompts, asked.seed)
    if measure_effects(bench, folder, *asked.part) is None:
        print("other parts are not complete")


def effects_folder(folder: Path, task: str, prompts: int, seed: int) -> Path:
    """Where the effects on a task's prompts are kept."""
    return folder / f"exact-{task}-{prompts}-{seed}"


if __name__ == "__main__":
    main()
