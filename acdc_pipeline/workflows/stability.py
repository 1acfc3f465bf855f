"""Stability of a search under resampled prompts, and transfer of its circuit to others."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.resample import weigh_repeats
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import mean_pairwise_jaccard, measure_scale, measure_value
from acdc_pipeline.execution.checkpoint import BoundCheckpoint, NoCheckpoint
from acdc_pipeline.execution.methods import PreparedRun, run_method
from acdc_pipeline.execution.problem import BenchProblem
from acdc_pipeline.execution.progress import Silent
from acdc_pipeline.execution.shards.circuit_jobs import subject_of, unpack_circuit
from acdc_pipeline.execution.shards.shard import Shard
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.prompts.prompt_set import pick_prompts
from acdc_pipeline.specs import RunSpec, circuit_method


@dataclass(frozen=True)
class Stability:
    """The search on bootstrap resamples of its prompts.

    Args:
        jaccard: mean pairwise Jaccard of the circuits' edges, 0 to 1; higher is more stable.
    """

    jaccard: float
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Transfer:
    """The search on one half of the prompts, and what it found on both.

    Args:
        by: whether the halves have different templates, or only different prompts.
        seen: its faithfulness on the half it was found on.
        unseen: its faithfulness on the other.
    """

    by: str
    edges: int
    seen: float
    unseen: float


def stability(
    worker: Worker,
    run: RunSpec,
    bench: Bench,
    resamples: int,
    seed: int,
    advance: Callable[[float], None] = lambda _: None,
    waiting: Sequence[Future[bytes]] | None = None,
) -> Stability:
    """Repeat the search on `resamples` bootstrap samples of the prompts, at least two.

    Each has as many prompts as `bench`, drawn with replacement (Efron 1979). `advance` is called
    with the finished share of the searches. `waiting` are the results of `search_resample`, where
    other workers search.
    """
    circuits, searches = [], count_searches(resamples)
    for number in range(searches):
        if waiting is None:
            circuits.append(_search_resample(worker, run, bench, seed, number))
        else:
            circuits.append(unpack_circuit(bench.weights.topology, waiting[number].result()))
        advance((number + 1) / searches)
    return Stability(mean_pairwise_jaccard(circuits), tuple(map(len, circuits)))


def count_searches(resamples: int) -> int:
    """The number of searches of `stability`: the similarity of one circuit alone has no meaning."""
    return max(2, resamples)


def search_resample(shard: Shard, seed: int, number: int) -> bytes:
    """Search on one resample of `stability`; return the circuit as packed bits."""
    worker, run, task = subject_of(shard)
    circuit = _search_resample(worker, run, worker.bench(run, task), seed, number)
    return np.packbits(circuit.topology.edge_mask(circuit.edges)).tobytes()


def _search_resample(worker: Worker, run: RunSpec, bench: Bench, seed: int, number: int) -> Circuit:
    n, rng = bench.prompts.n_prompts, random.Random(f"stability {seed} {number}")
    return _search(worker, run, resampled(bench, run, rng.choices(range(n), k=n)))


def transfer_job(shard: Shard) -> Transfer | None:
    """The same as `transfer`, in a worker."""
    worker, run, task = subject_of(shard)
    return transfer(worker, run, worker.bench(run, task))


def transfer(worker: Worker, run: RunSpec, bench: Bench) -> Transfer | None:
    """Search on every second template and measure the circuit on the others.

    With one template, prompts alternate instead. None if a half has no prompt, or if the metric
    does not distinguish the model from the ablated one on it.
    """
    prompts = bench.prompts
    numbers = range(len(prompts)) if prompts.whole is None else prompts.whole.question
    template_of = dict(zip(numbers, prompts.template, strict=True))
    templates = sorted(set(template_of.values()))
    by = "templates" if len(templates) > 1 else "prompts"
    halves: list[list[int]] = [[], []]
    for number, template in template_of.items():
        turn = templates.index(template) if by == "templates" else number
        halves[turn % 2].append(number)
    if not all(halves):
        return None
    seen, unseen = (_part(bench, run, rows) for rows in halves)
    metric = circuit_method(run.method).metric
    try:
        scales = [measure_scale(part, metric) for part in (seen, unseen)]
    except InvalidInput:
        return None
    circuit = _search(worker, run, seen)
    values = [
        scale.faithfulness(measure_value(part, metric, circuit.edges))
        for part, scale in zip((seen, unseen), scales, strict=True)
    ]
    return Transfer(by, len(circuit), *values)


def resampled(bench: Bench, run: RunSpec, numbers: Sequence[int]) -> Bench:
    """Return the bench on the prompts of these numbers, which may repeat.

    A prompt that occurs k times is computed once with weight k, which leaves 63 % of a bootstrap
    sample. Mean ablation averages over prompts and needs every copy.
    """
    if circuit_method(run.method).ablation == "mean":
        return _part(bench, run, numbers)
    return weigh_repeats(numbers, lambda some: _part(bench, run, some))


def _part(bench: Bench, run: RunSpec, numbers: Sequence[int]) -> Bench:
    ablation = circuit_method(run.method).ablation
    return set_up(bench.weights, pick_prompts(bench.prompts, numbers), ablation, bench.own_metric)


def _search(worker: Worker, run: RunSpec, bench: Bench) -> Circuit:
    return run_method(
        PreparedRun(
            run,
            BenchProblem(bench, worker.budget),
            worker.budget,
            Silent(),
            BoundCheckpoint(NoCheckpoint(), {}),
        )
    ).circuit
