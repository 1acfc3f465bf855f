r"""Every method on compiled models, the zoo and a real model: `python -m benchmarks.methods_table`.

A cell is a task and a model that claims it. In each, a method searches by the logit difference, and
by KL where it can; its circuits at MIB's fractions of the edges are measured on held-out prompts of
another seed. Means over cells are printed of

- AUROC: how well the scores, or the circuits at several thresholds, tell the true edges of compiled
  models from the others; equal scores count half (InterpBench, arXiv 2407.14494).
- CMD (lower is better) and CPR (higher is better, gamed by circuits above the model) as `evaluate`
  defines them, in the logit difference and in KL, each of the circuits searched by it.
- stability: mean pairwise Jaccard similarity of the circuits on bootstrap resamples of the prompts.
- forwards: matrix operations of one search (by KL where the method can) over those of one forward.
- CPU seconds of one search, by the logit difference.

And in how many cells and metrics a method is first or tied in CMD: not above that of any other
method by more than the paired bootstrap interval over held-out prompts.

What was measured is kept in `--folder`, so that an interrupted run goes on where it stopped and new
methods, and stabilities, are added alone. Stability is left out (a dash) where a search took longer
than `--longest` seconds, 3 by default; that of `exact` on the real model follows from effects that
are kept. These take hours, which `benchmarks.exact_scores` divides among processes.

    python -m benchmarks.methods_table --groups compiled zoo --write docs/methods-table.md
    python -m benchmarks.methods_table --groups compiled zoo real --longest 400 \
        --write docs/methods-table.md
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from acdc_pipeline.algorithms.scoring import EdgeScores
from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.resample import take_rows, weigh_repeats
from acdc_pipeline.errors import AcdcError
from acdc_pipeline.evaluation import mean_pairwise_jaccard
from acdc_pipeline.execution.methods import SharedWork
from acdc_pipeline.files import write_bytes
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import claimed_tasks, compiled
from acdc_pipeline.specs import METHODS, find_task
from acdc_pipeline.specs.names import MetricName
from acdc_pipeline.wiki.text import join_words
from benchmarks.exact_scores import ExactEffects, effects_folder, measure_effects
from benchmarks.measurement import machine
from benchmarks.method_areas import measure_areas, measure_auroc
from benchmarks.method_cells import (
    FEW_STEPS,
    HELD_OUT,
    MODELS,
    bench_of,
    count_forwards,
    count_operations,
    draw_counts,
)
from benchmarks.methods_page import page
from benchmarks.real_model import fetch_model
from benchmarks.searches import Found, find_circuit, is_search

GROUPS = ("compiled", "zoo", "real")
BY: tuple[MetricName, ...] = ("logit_diff", "kl")
THRESHOLDS = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Of the searches; the last is that of the search whose cost and stability are stated."""
REAL_THRESHOLDS = (1.0, 0.3, 0.1)
"""The same on the real model."""
REAL_STEPS = {"steps": 20, "learning_rate": 0.5}
"""Of gates on the real model, as in docs/smollm2.md."""
REAL_BUDGET = 180.0
"""Forwards that `eap-exact` may take on the real model, where `eap-ig-activations` takes 450."""


@dataclass(frozen=True)
class Cell:
    """A behaviour of a model.

    Args:
        group: of `GROUPS`.
        model: a reference that `load_model` takes; for the real one the name of its file.
    """

    group: str
    task: str
    model: str


@dataclass(frozen=True)
class Settings:
    """What decides the figures of a cell, but for cell and method."""

    prompts: int
    seed: int
    resamples: int


@dataclass(frozen=True)
class Figures:
    """One method in one cell. None means not measured, or that there is no such figure.

    Args:
        resampled: CMD on bootstrap resamples of the held-out prompts, the same for all methods.
        resampled_kl: the same in KL.
    """

    auroc: float | None
    cmd: float | None
    cpr: float | None
    cmd_kl: float | None
    cpr_kl: float | None
    stability: float | None
    forwards: float
    seconds: float
    resampled: Sequence[float] | None
    resampled_kl: Sequence[float] | None


def cells(groups: Sequence[str], models: Sequence[str], tasks: Sequence[str]) -> Iterator[Cell]:
    """The cells of some groups, of `models` and `tasks` alone if any are named."""
    for group in GROUPS:
        if group not in groups:
            continue
        names = {"compiled": compiled.list_compiled(), "zoo": MODELS, "real": ("SmolLM2-135M",)}[
            group
        ]
        for name in names:
            if models and name not in models:
                continue
            of_model = {"compiled": lambda n: (compiled.task_of(n),), "zoo": claimed_tasks}
            for task in of_model.get(group, lambda _: ("ioi",))(name):
                if not tasks or task in tasks:
                    yield Cell(group, task, name)


def measure_methods(
    cell: Cell, methods: Sequence[str], settings: Settings, longest: float, kept: Path
) -> dict[str, Figures]:
    """Every method in one cell, from `kept` where it was measured before, with its stability."""
    kept.mkdir(parents=True, exist_ok=True)
    files = {method: kept / f"{_key(cell, method, settings)}.json" for method in methods}
    found = {m: _read(file) for m, file in files.items() if file.is_file()}

    def keep(method: str, figures: Figures) -> None:
        found[method] = figures
        document = {**asdict(cell), "method": method, **asdict(settings), **asdict(figures)}
        write_bytes(files[method], (json.dumps(document, indent=1) + "\n").encode())

    def by_effects(method: str) -> bool:
        return cell.group == "real" and method == "exact"

    def lacks_stability(method: str) -> bool:
        if found[method].stability is not None or settings.resamples < 2:
            return False
        return found[method].seconds <= longest or (by_effects(method) and longest > 0)

    if missing := [m for m in methods if m not in found or lacks_stability(m)]:
        ref = f"gguf:{fetch_model()}" if cell.group == "real" else f"zoo:{cell.model}"
        dtype = "float64" if cell.group == "compiled" else "float32"
        model = load_model(ref, dtype=dtype, device="cpu")
        benches = [
            bench_of(model, cell.task, settings.prompts, seed)
            for seed in (settings.seed, settings.seed + HELD_OUT)
        ]
        for method in missing:
            effects = None
            if by_effects(method):
                folder = effects_folder(kept, cell.task, settings.prompts, settings.seed)
                effects = measure_effects(benches[0], folder)
                assert effects is not None, "the only part is complete"
            try:
                if method not in found:
                    if effects is None:
                        searched = search_all(method, cell, benches[0], settings.seed)
                    else:
                        searched = from_effects(cell, benches[0], effects, settings.seed)
                    keep(method, measure(cell, searched, benches[1], settings))
                if lacks_stability(method):
                    similarity = measure_stability(method, cell, benches[0], settings, effects)
                    keep(method, replace(found[method], stability=similarity))
            except AcdcError as error:
                print(f"{method} on {cell.task} in {cell.model}: {error}", flush=True)
    return {method: found[method] for method in methods if method in found}


@dataclass(frozen=True)
class Searched:
    """What a method found by each metric that it can use, at every threshold, and its cost."""

    by: Mapping[MetricName, Sequence[Found]]
    forwards: float
    seconds: float


def measure(cell: Cell, found: Searched, held_out: Bench, settings: Settings) -> Figures:
    """The figures of a method in one cell, without its stability."""
    usual = found.by["logit_diff"]
    counts = draw_counts(held_out, settings.seed)
    cmd, kl = (
        measure_areas(found.by.get(metric, usual), held_out, metric, counts) for metric in BY
    )
    by_kl = found.by.get("kl", usual)
    return Figures(
        auroc=measure_auroc(cell.model, by_kl) if cell.group == "compiled" else None,
        cmd=cmd.cmd,
        cpr=cmd.cpr,
        cmd_kl=kl.cmd,
        cpr_kl=kl.cpr,
        stability=None,
        forwards=found.forwards,
        seconds=found.seconds,
        resampled=cmd.resampled,
        resampled_kl=kl.resampled,
    )


def search_all(method: str, cell: Cell, bench: Bench, seed: int) -> Searched:
    """Search by the logit difference, and by KL where the method can."""
    started = time.process_time()
    usual = search(method, cell, bench, "logit_diff", seed)
    seconds = time.process_time() - started
    fit: MetricName = "kl" if "kl" not in METHODS[method].UNFIT else "logit_diff"
    counted, forwards = count_forwards(bench, lambda: search(method, cell, bench, fit, seed))
    by: dict[MetricName, list[Found]] = {"logit_diff": [usual], fit: [counted]}
    if is_search(method):
        by = {metric: family(method, cell, bench, metric, seed) for metric in by}
    return Searched(by, forwards, seconds)


def from_effects(cell: Cell, bench: Bench, effects: ExactEffects, seed: int) -> Searched:
    """What `exact` finds, from the effects on each prompt."""
    by: dict[MetricName, list[Found]] = {
        metric: [search("exact", cell, bench, metric, seed, scores=effects.scores(metric))]
        for metric in BY
    }
    forwards = effects.operations / count_operations(bench)
    return Searched(by, forwards, effects.seconds["logit_diff"])


def measure_stability(
    method: str,
    cell: Cell,
    bench: Bench,
    settings: Settings,
    effects: ExactEffects | None = None,
) -> float:
    """The mean pairwise Jaccard similarity of circuits on bootstrap resamples of the prompts."""
    found = []
    for number in range(settings.resamples):
        drawn = draw_prompts(bench, settings.seed, number)
        if effects is None:
            part, scores = weigh_repeats(drawn, lambda some: take_rows(bench, some)), None
        else:
            part, scores = bench, effects.scores("logit_diff", drawn)
        found.append(search(method, cell, part, "logit_diff", 0, scores=scores).circuit)
    return mean_pairwise_jaccard(found)


def search(
    method: str,
    cell: Cell,
    bench: Bench,
    metric: MetricName,
    seed: int,
    threshold: float | None = None,
    shared: SharedWork | None = None,
    scores: EdgeScores | None = None,
) -> Found:
    """One search of a method, at 5 % of the edges or at a threshold, the last one by default.

    Args:
        scores: of the edges, if they are known.
    """
    few = _fixed(cell, method)
    return find_circuit(
        method,
        find_task(cell.task),
        bench,
        model=cell.model,
        seed=seed,
        metric=metric,
        threshold=_thresholds(cell.group)[-1] if threshold is None else threshold,
        shared=shared,
        scores=scores,
        **few,
    )


def _fixed(cell: Cell, method: str) -> Mapping[str, float]:
    """The parameters of a method that are not its usual ones."""
    if "learning_rate" in METHODS[method].parameters():
        return REAL_STEPS if cell.group == "real" else FEW_STEPS
    return {"budget": REAL_BUDGET} if method == "eap-exact" and cell.group == "real" else {}


def family(method: str, cell: Cell, bench: Bench, metric: MetricName, seed: int) -> list[Found]:
    """The circuits of a search at every threshold."""
    shared = SharedWork()
    return [search(method, cell, bench, metric, seed, t, shared) for t in _thresholds(cell.group)]


def _thresholds(group: str) -> Sequence[float]:
    return REAL_THRESHOLDS if group == "real" else THRESHOLDS


def _parameters(group: str) -> str:
    """A sentence on what all methods of a group have in common."""
    thresholds = join_words([f"{threshold:g}" for threshold in _thresholds(group)])
    steps = (REAL_STEPS if group == "real" else FEW_STEPS)["steps"]
    said = f"Searches have thresholds of {thresholds}; gates are trained for {steps} steps."
    if group == "real":
        said += f" `eap-exact` has a budget of {REAL_BUDGET:g} forwards."
    return said


def draw_prompts(bench: Bench, seed: int, number: int) -> list[int]:
    """As many prompts as there are, drawn with replacement (Efron 1979)."""
    n, rng = bench.prompts.n_prompts, random.Random(f"methods table {seed} {number}")
    return rng.choices(range(n), k=n)


def _key(cell: Cell, method: str, settings: Settings) -> str:
    version = METHODS[method].VERSION
    of = {**asdict(cell), "method": method, "version": version, **asdict(settings), "figures": 2}
    if is_search(method):
        of["thresholds"] = _thresholds(cell.group)
    of |= _fixed(cell, method)
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:20]


def _read(file: Path) -> Figures:
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return Figures(**{name: document[name] for name in Figures.__dataclass_fields__})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print or write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--groups", nargs="+", default=["compiled", "zoo"], choices=GROUPS)
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--tasks", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--methods", nargs="+", default=[], choices=list(METHODS), metavar="NAME")
    parser.add_argument(
        "--prompts", nargs=3, type=int, default=[32, 16, 8], metavar=("COMPILED", "ZOO", "REAL")
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=3)
    parser.add_argument("--longest", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kept", action="store_true", help="measure nothing that is not kept")
    parser.add_argument("--folder", type=Path, default=Path(".bench/methods-table"))
    parser.add_argument("--write", type=Path, metavar="PAGE.md", help="default: stdout")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    table: dict[Cell, Mapping[str, Figures]] = {}
    for cell in cells(asked.groups, asked.models, asked.tasks):
        settings = Settings(asked.prompts[GROUPS.index(cell.group)], asked.seed, asked.resamples)
        methods = asked.methods or list(METHODS)
        if asked.kept:
            methods = [
                method
                for method in methods
                if (asked.folder / f"{_key(cell, method, settings)}.json").is_file()
            ]
        started = time.perf_counter()
        longest = 0.0 if asked.kept else asked.longest
        table[cell] = measure_methods(cell, methods, settings, longest, asked.folder)
        took = time.perf_counter() - started
        print(f"{cell.group}: {cell.task} in {cell.model}: {took:.1f} s", flush=True)
    parameters = {group: _parameters(group) for group in GROUPS}
    text = page(table, asked, machine(torch.device("cpu")), parameters)
    if asked.write is None:
        print(text)
    else:
        write_bytes(asked.write, text.encode())


if __name__ == "__main__":
    main()
