"""Every method on every behaviour of the zoo: `python -m benchmarks.method_cells`.

A cell is a task, a model that claims it, and a metric. Each method searches by that metric (by the
logit difference where it cannot use it), and its circuits at MIB's fractions of the edges are
measured in it on held-out prompts: as many as were searched, of another draw. Printed are CMD
(lower is better), CPR, both means over seeds; seconds; and the cost in forwards: the floating-point
operations of matrix products during the search over those of one forward of the model on the
prompts. A method is first or tied in a cell if the paired bootstrap interval over held-out prompts
of its CMD less that of any other method is not above 0.

    python -m benchmarks.method_cells --methods eap-ig-inputs eap-ig-activations random
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch.utils.flop_counter import FlopCounterMode

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import (
    FRACTIONS,
    circuit_logits,
    circuits_at_fractions,
    circuits_from_scores,
)
from acdc_pipeline.evaluation.measure import score_answers
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.selection import Selection
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.models.zoo import claimed_tasks
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import METHODS, find_task
from acdc_pipeline.specs.names import METRICS
from benchmarks.searches import find_circuit, is_search

MODELS = (
    "gpt2-4l-s0",
    "gpt2-4l-s1",
    "gpt2-4l-s2",
    "llama-4l",
    "neox-4l",
    "neox-4l-words",
    "opt-4l",
    "attn-4l",
    "attn-2l",
)
Result = TypeVar("Result")
THRESHOLDS = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FEW_STEPS = {"steps": 60, "learning_rate": 0.2}
"""Of gates, as in deploy/sweeps/methods.yaml."""
HELD_OUT = 1000
"""Added to the seed of the prompts that are searched."""
FIGURES = ("cmd", "cpr", "forwards", "seconds")


@dataclass(frozen=True)
class Cell:
    """A behaviour of a model, and the metric that it is searched and measured by."""

    task: str
    model: str
    metric: str


@dataclass(frozen=True)
class Measured:
    """One method in one cell, means over seeds.

    Args:
        forwards: cost of the search on the first seed.
        curve: faithfulness on held-out prompts at each of `FRACTIONS`.
        resampled: CMD on bootstrap resamples of the held-out prompts, the same for all methods.
    """

    cmd: float
    cpr: float
    forwards: float
    seconds: float
    curve: tuple[float, ...]
    resampled: Float[np.ndarray, " resample"]


def cells(models: Sequence[str] = MODELS, metrics: Sequence[str] = ()) -> Iterator[Cell]:
    """The cells of some models: the tasks that each claims, by `metrics`.

    Args:
        metrics: None named means the task's discovery metric and its own.
    """
    for model in models:
        for name in claimed_tasks(model):
            own = find_task(name).metrics
            for metric in metrics or dict.fromkeys((own.discovery, own.own)):
                yield Cell(name, model, metric)


def find_circuits(method: str, cell: Cell, bench: Bench, seed: int) -> Mapping[float, Circuit]:
    """The circuits of `method` at each of `FRACTIONS`."""
    few = FEW_STEPS if "learning_rate" in METHODS[method].parameters() else {}
    found = [
        find_circuit(
            method,
            find_task(cell.task),
            bench,
            model=f"zoo:{cell.model}",
            seed=seed,
            metric=cell.metric if cell.metric not in METHODS[method].UNFIT else "logit_diff",
            threshold=threshold,
            **few,
        )
        for threshold in (THRESHOLDS if is_search(method) else THRESHOLDS[:1])
    ]
    topology, last = bench.weights.topology, found[-1]
    if is_search(method):
        return circuits_at_fractions(topology, [one.circuit for one in found])
    return circuits_from_scores(topology, last.circuit.scores, Selection(last.rank))


def count_forwards(bench: Bench, search: Callable[[], Result]) -> tuple[Result, float]:
    """The result of a search, and its matrix operations in units of one forward on its prompts."""
    with FlopCounterMode(display=False) as of_search:
        found = search()
    return found, of_search.get_total_flops() / count_operations(bench)


def count_operations(bench: Bench) -> float:
    """The floating-point operations of matrix products of one forward on the prompts."""
    with FlopCounterMode(display=False) as of_two:
        set_up(bench.weights, bench.prompts, "corrupted")
    return of_two.get_total_flops() / 2


def bench_of(model: LoadedModel, task: str, prompts: int, seed: int) -> Bench:
    """`model` on prompts of `task`."""
    assert model.tokenizer is not None, "models of the zoo have a tokenizer"
    made = make_prompts(find_task(task), model.tokenizer, n=prompts, seed=seed)
    return set_up(model.weights, made, "corrupted")


def measure_cell(
    cell: Cell, methods: Sequence[str], *, prompts: int, seeds: Sequence[int], resamples: int = 200
) -> dict[str, Measured]:
    """Every method in one cell."""
    model = load_model(f"zoo:{cell.model}", device="cpu")
    parts: dict[str, list[Measured]] = {method: [] for method in methods}
    for seed in seeds:
        searched = bench_of(model, cell.task, prompts, seed)
        held_out = bench_of(model, cell.task, prompts, seed + HELD_OUT)
        counts = draw_counts(held_out, seed, resamples)
        for method in methods:
            started = time.perf_counter()
            circuits = find_circuits(method, cell, searched, seed)
            seconds = time.perf_counter() - started
            forwards = np.nan
            if not parts[method]:
                _, forwards = count_forwards(
                    searched,
                    partial(find_circuits, method, cell, searched, seed),
                )
            curves = faithfulness(held_out, cell.metric, circuits, counts)
            distances = areas(np.abs(1 - curves))
            figures = float(distances[0]), float(areas(curves[:1])[0]), float(forwards), seconds
            parts[method].append(Measured(*figures, tuple(curves[0].tolist()), distances[1:]))
    return {method: _mean(of) for method, of in parts.items()}


def draw_counts(bench: Bench, seed: int, resamples: int = 200) -> Float[np.ndarray, "draw prompt"]:
    """How often each prompt counts: once in the first row, then in bootstrap resamples."""
    n = len(bench.prompts)
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.vstack([np.ones(n), draws])


def faithfulness(
    bench: Bench,
    metric: str,
    circuits: Mapping[float, Circuit],
    counts: Float[np.ndarray, "draw prompt"],
) -> Float[np.ndarray, "draw fraction"]:
    """The faithfulness of circuits on prompts of which each counts some times in a draw."""
    topology = bench.weights.topology
    ends = [topology.edge_set, frozenset()]
    chosen = [*ends, *(circuits[fraction].edges for fraction in FRACTIONS)]
    by_edges = {
        edges: score_answers(bench, circuit_logits(bench, edges), metric).double().numpy()
        for edges in dict.fromkeys(chosen)
    }
    weights = counts[:, bench.layout.answer_row.numpy()]
    values = np.stack([weights @ by_edges[edges] / weights.sum(1) for edges in chosen], axis=1)
    whole, nothing = values[:, :1], values[:, 1:2]
    return (values[:, 2:] - nothing) / (whole - nothing)


def areas(curves: Float[np.ndarray, "draw fraction"]) -> Float[np.ndarray, " draw"]:
    """The area under each curve over `FRACTIONS`."""
    return np.trapezoid(curves, FRACTIONS, axis=1)


def _mean(of: Sequence[Measured]) -> Measured:
    means = {f: float(np.nanmean([getattr(measured, f) for measured in of])) for f in FIGURES}
    return Measured(
        **means,
        curve=tuple(np.mean([measured.curve for measured in of], axis=0).tolist()),
        resampled=np.mean([measured.resampled for measured in of], axis=0),
    )


Distance = tuple[float, Sequence[float] | Float[np.ndarray, " resample"]]
"""A CMD, and the same on resamples of the prompts."""


def is_not_above(ours: Distance, other: Distance) -> bool:
    """Whether a CMD is at most the other, or the 95 % interval of the difference reaches to 0."""
    low = np.quantile(np.asarray(ours[1]) - np.asarray(other[1]), 0.025)
    return ours[0] <= other[0] or bool(low <= 0)


def is_first_or_tied(found: Mapping[str, Distance], method: str) -> bool:
    """Whether no other method has a CMD that is lower beyond the interval over prompts."""
    return all(is_not_above(found[method], other) for other in found.values())


def _distances(found: Mapping[str, Measured]) -> dict[str, Distance]:
    return {name: (measured.cmd, measured.resampled) for name, measured in found.items()}


def _row(cell: Cell, found: Mapping[str, Measured]) -> str:
    each = [
        f"{m.cmd:.4f} / {m.cpr:.3f}" + ("*" if is_first_or_tied(_distances(found), name) else "")
        for name, m in found.items()
    ]
    return f"| {cell.task} | {cell.model} | `{cell.metric}` | {' | '.join(each)} |"


def _summary(table: Mapping[Cell, Mapping[str, Measured]], methods: Sequence[str]) -> Iterator[str]:
    """For each method: in how many cells it is first or tied, and its mean areas and costs."""
    yield "| method | first or tied | CMD | CPR | forwards | seconds |"
    yield "|---" * 6 + "|"
    for name in methods:
        of = [found[name] for found in table.values()]
        first = sum(is_first_or_tied(_distances(found), name) for found in table.values())
        means = [np.mean([getattr(measured, figure) for measured in of]) for figure in FIGURES]
        figures = "{:.4f} | {:.3f} | {:.0f} | {:.2f}".format(*means)
        yield f"| {name} | {first} of {len(of)} | {figures} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cells and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME")
    parser.add_argument("--tasks", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--metrics", nargs="+", default=[], choices=METRICS, metavar="NAME")
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="NAME"
    )
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"| task | model | metric | {' | '.join(asked.methods)} |")
    print("|---" * (3 + len(asked.methods)) + "|")
    table: dict[Cell, Mapping[str, Measured]] = {}
    for cell in cells(asked.models, asked.metrics):
        if asked.tasks and cell.task not in asked.tasks:
            continue
        table[cell] = measure_cell(cell, asked.methods, prompts=asked.prompts, seeds=asked.seeds)
        print(_row(cell, table[cell]), flush=True)
    print("\n" + "\n".join(_summary(table, asked.methods)))
    if asked.json is not None:
        rows = [
            vars(cell) | {"method": name} | vars(m) | {"resampled": m.resampled.tolist()}
            for cell, found in table.items()
            for name, m in found.items()
        ]
        asked.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
