"""Measurements of circuits as jobs: groups of circuits, searches, rounds of scrubbing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Concatenate, ParamSpec

import numpy as np
from jaxtyping import Bool

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import select_exchangeable
from acdc_pipeline.evaluation.causal_scrubbing import ScoredDraw, score_draw
from acdc_pipeline.evaluation.measure import Advance, CircuitScores, score_circuits
from acdc_pipeline.execution.consensus_searches import ConsensusSearches, Log
from acdc_pipeline.execution.shards.jobs import JobPool
from acdc_pipeline.execution.shards.messages import Call
from acdc_pipeline.execution.shards.shard import Shard
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.specs import AcdcMethod, RunSpec, TaskSpec, circuit_method
from acdc_pipeline.specs.names import MetricKey

ALIKE = 4
"""Prompts in a group with equal roles, for causal scrubbing."""

LEAST_CIRCUITS = 5
"""Circuits of a job, at least: they share what their layers have in common."""

JOBS_OF_MEASUREMENT = 16
"""Jobs that many circuits are divided into. Another number would round otherwise."""

Arguments = ParamSpec("Arguments")


class RunJobs:
    """Jobs on the model and the prompts of one run.

    Args:
        memory: byte budget of a search in each worker.
    """

    def __init__(self, pool: JobPool, run: RunSpec, task: TaskSpec, memory: int) -> None:
        self.pool = pool
        self._take_up: Call = (take_up, (run, task, memory))

    def submit(
        self,
        function: Callable[Concatenate[Shard, Arguments], Any],
        *arguments: Arguments.args,
        **_: Arguments.kwargs,
    ) -> Future[Any]:
        """Let a worker compute `function` of a module; see `JobPool.submit`."""
        return self.pool.submit(self._take_up, (function, arguments))

    def submit_later(
        self,
        function: Callable[Concatenate[Shard, Arguments], Any],
        *arguments: Arguments.args,
        **_: Arguments.kwargs,
    ) -> Future[Any]:
        """As `submit`, when no other job waits."""
        return self.pool.submit_later(self._take_up, (function, arguments))

    def submit_searches(self, numbers: Sequence[int], first: Log) -> Future[list[Log]]:
        """Let a worker run some searches of a consensus, with the bits of one process.

        Args:
            first: the decisions of the first of all, which predict the others.
        """
        return self.submit(run_searches, list(numbers), first)

    def score_circuits(
        self,
        masks: Iterable[Bool[np.ndarray, " edge"]],
        metrics: Sequence[MetricKey],
        advance: Advance = lambda _: None,
    ) -> list[CircuitScores]:
        """As `measure.score_circuits`, in groups whose size their number alone decides."""
        packed = [np.packbits(mask).tobytes() for mask in masks]
        size = max(LEAST_CIRCUITS, -(-len(packed) // JOBS_OF_MEASUREMENT))
        groups = [packed[first : first + size] for first in range(0, len(packed), size)]
        results = [self.submit(score_group, group, list(metrics)) for group in groups]
        found: list[CircuitScores] = []
        for group, result in zip(groups, results, strict=True):
            found += result.result()
            advance(len(group))
        return found


def take_up(shard: Shard, run: RunSpec, task: TaskSpec, memory: int) -> None:
    """Turn to a run; its model and prompts are loaded by the first job that needs them."""
    shard.subject = run, task
    shard.worker.memory = memory


def subject_of(shard: Shard) -> tuple[Worker, RunSpec, TaskSpec]:
    """The worker of a shard, and the run and task that its jobs are about."""
    assert shard.subject is not None
    return shard.worker, *shard.subject


def score_group(
    shard: Shard, packed: Sequence[bytes], metrics: Sequence[MetricKey]
) -> list[CircuitScores]:
    """The metrics of circuits, given as packed bits over the edges."""
    worker, run, task = subject_of(shard)
    bench = worker.bench(run, task)
    n_edges = bench.weights.topology.n_edges
    return score_circuits(bench, (unpack(bits, n_edges) for bits in packed), metrics)


def unpack(bits: bytes, n_edges: int) -> Bool[np.ndarray, " edge"]:
    """Return the mask over edges that was packed into bits."""
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=n_edges).astype(bool)


def unpack_circuit(topology: Topology, bits: bytes) -> Circuit:
    """Return the circuit whose mask over edges was packed into bits."""
    return Circuit(topology, frozenset(topology.edges_in(unpack(bits, topology.n_edges))))


def scrubbing_bench(worker: Worker, run: RunSpec, task: TaskSpec) -> Bench:
    """Set up the prompts of `run` in groups with equal roles, for causal scrubbing.

    Raises PromptError if none of them shares its length with another.
    """
    prompts = select_exchangeable(worker.prompts(run, task, seed=run.seed, alike=ALIKE))
    weights, ablation = worker.model(run).weights, circuit_method(run.method).ablation
    return set_up(weights, prompts, ablation, worker.own_metric, worker.held_outputs)


def scrub(shard: Shard, circuit: bytes, draw: int, seed: int) -> ScoredDraw:
    """One draw of causal scrubbing of the circuit of packed bits; see `score_draw`."""
    worker, run, task = subject_of(shard)
    kept = shard.kept.get("scrubbing")
    if kept is None or kept[0] != run.run_id():
        kept = shard.kept["scrubbing"] = run.run_id(), scrubbing_bench(worker, run, task)
    bench, metric = kept[1], circuit_method(run.method).metric
    found = unpack_circuit(bench.weights.topology, circuit)
    of_circuit, of_nothing = score_draw(bench, metric, found, draw=draw, seed=seed)
    return of_circuit.cpu(), of_nothing.cpu()


def run_searches(shard: Shard, numbers: Sequence[int], first: Log) -> list[Log]:
    """The decisions of some searches of a consensus."""
    worker, run, task = subject_of(shard)
    assert isinstance(run.method, AcdcMethod)
    searches = ConsensusSearches(worker.bench(run, task), run.method, run.seed, worker.budget)
    return searches.run_group(numbers, first)
