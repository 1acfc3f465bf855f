"""The worker whose runs spread their prompts over several others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool

from acdc_pipeline.engine.prompt_groups import PROMPTS_PER_GROUP, count_groups
from acdc_pipeline.execution.checkpoint import BoundCheckpoint, Checkpoint, NoCheckpoint
from acdc_pipeline.execution.circuit_record import RunFacts, circuit_record
from acdc_pipeline.execution.methods import PreparedRun, SharedWork
from acdc_pipeline.execution.own_metric import named_metric
from acdc_pipeline.execution.progress import Progress, Silent
from acdc_pipeline.execution.report import reference_for
from acdc_pipeline.execution.shards.jobs import JobPool
from acdc_pipeline.execution.shards.messages import Channel
from acdc_pipeline.execution.shards.pool import ShardPool
from acdc_pipeline.execution.shards.problem import ShardedProblem
from acdc_pipeline.execution.shards.shard import ShardFacts
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.models.device import resolve_dtype
from acdc_pipeline.specs import (
    AcdcMethod,
    ProfileMethod,
    RunSpec,
    ScoredMethod,
    SearchMethod,
    TaskSpec,
)
from acdc_pipeline.specs.names import MetricKey
from acdc_pipeline.store import RunRecord
from acdc_pipeline.text import pluralize


def is_spread(run: RunSpec) -> bool:
    """Whether the prompts of `run` can be spread: its method adds up what they contribute.

    The function of a metric of one's own stays in this process, and so does its run.
    """
    method = run.method
    if named_metric(run) is not None or is_consensus(run):
        return False
    if isinstance(method, SearchMethod):
        return True
    return isinstance(method, ScoredMethod) and method.spread is not None


def is_consensus(run: RunSpec) -> bool:
    """Whether whole searches of `run` are spread, and not its prompts."""
    return isinstance(run.method, AcdcMethod) and run.method.consensus > 0


class ShardedWorker:
    """Executes runs one after the other, each on several workers; decides, but computes nothing.

    Args:
        start: starts the worker of a number from 0.
        shards: the largest number of workers; a run has no more than groups of prompts.
        memory: byte budget, as `Worker.memory`.
        alone: makes the worker for runs that cannot be spread.
        report: receives a message where fewer workers take part, or one was lost.

    Attributes:
        pool: the workers of the last run; None before the first.
        losses: what was reported of workers that died during the last run.
    """

    def __init__(
        self,
        start: Callable[[int], Channel],
        shards: int,
        memory: int,
        alone: Callable[[], Worker],
        report: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.memory, self.shards = memory, shards
        self._halvings = 0
        self._start, self._report = start, report
        self.losses: list[str] = []
        self._noted: set[str] = set()
        self._make_alone = alone
        self._alone: Worker | None = None
        self.pool: ShardPool | None = None
        self._where: dict[str, str] = {}

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
        shared: SharedWork | None = None,
    ) -> RunRecord:
        """Return the result of `run`: the same to the bit for every number of workers.

        Arguments and errors are those of `Worker.execute`. A run that cannot be spread is executed
        by one worker alone; of a head profile the others measure parts, and of a consensus they run
        groups of searches.
        """
        self.losses = []
        if not is_spread(run):
            alone = self._one_alone()
            in_parts = isinstance(run.method, ProfileMethod) or is_consensus(run)
            if not in_parts or named_metric(run) is not None:
                self._note(
                    f"this run of '{run.method.name}' cannot be spread: one worker computes it"
                )
            elif alone.pool is None:
                alone.pool = JobPool(self._start, self.shards, self._lose)
            self.close()  # the workers of other runs hold their models
            return alone.execute(run, task, progress, checkpoint, shared)
        n_groups = count_groups(run.prompts)
        if n_groups < self.shards:
            self._note(
                f"{pluralize(run.prompts, 'prompt')} make {pluralize(n_groups, 'group')} of up to "
                f"{PROMPTS_PER_GROUP}: {n_groups} of {self.shards} workers take part"
            )
        facts = self._prepared(run, task)
        started = time.perf_counter()
        first, prompts = facts[0], facts[0].prompts
        assert prompts is not None
        reference = reference_for(run, task, first.topology)
        problem, where = self._problem(run, facts), self._where
        kept = BoundCheckpoint(checkpoint or NoCheckpoint(), {**where, "memory": str(self.budget)})
        prepared = PreparedRun(run, problem, self.budget, progress or Silent(), kept, shared)
        parity = max(each.parity_error for each in facts)
        about = RunFacts(prompts, first.warnings, parity, first.d_model, where, started)
        return circuit_record(prepared, task, about, reference)

    def measure_cuts(
        self,
        run: RunSpec,
        task: TaskSpec,
        metric: MetricKey,
        masks: Sequence[Bool[np.ndarray, " edge"]],
    ) -> list[float]:
        """As `Worker.measure_cuts`, from sums over groups of prompts."""
        if not is_spread(run):
            return self._one_alone().measure_cuts(run, task, metric, masks)
        problem = self._problem(run, self._prepared(run, task))
        edges = [problem.topology.edges_in(mask) for mask in masks]
        return [problem.measure(kept, [metric])[metric] for kept in edges]

    def environment_of(self, run: RunSpec) -> dict[str, str]:
        """Return the environment in records of `run`, which was the last one; {} before the first.

        A run that one worker computes alone has that worker's.
        """
        if not is_spread(run):
            return {} if self._alone is None else self._alone.environment_of(run)
        return self._where

    def _prepared(self, run: RunSpec, task: TaskSpec) -> list[ShardFacts]:
        pool = self._pool_of(min(self.shards, count_groups(run.prompts)))
        facts = pool.prepare(run, task, self.budget)
        self._where = {**facts[0].environment, "prompts_per_group": str(PROMPTS_PER_GROUP)}
        return facts

    def _problem(self, run: RunSpec, facts: Sequence[ShardFacts]) -> ShardedProblem:
        assert self.pool is not None
        counts = [count for each in facts for count in each.counts]
        like = torch.empty(0, dtype=resolve_dtype(run.dtype).computed)
        return ShardedProblem(self.pool, facts[0].topology, counts, like)

    @property
    def budget(self) -> int:
        """Byte budget of every worker now."""
        return self.memory >> self._halvings

    @property
    def halvings(self) -> int:
        """How many times the budget is halved, because memory ran out."""
        return self._halvings

    def reduce_memory(self, halvings: int) -> int:
        """Halve the full budget so many times, end the workers; returns the budget."""
        self._halvings = halvings
        self.close()
        self.pool = None
        if self._alone is not None:
            self._alone.reduce_memory(halvings)
        return self.budget

    def _one_alone(self) -> Worker:
        if self._alone is None:
            self._alone = self._make_alone()
            self._alone.reduce_memory(self._halvings)
        return self._alone

    def close(self) -> None:
        """End the workers."""
        if self.pool is not None:
            self.pool.close()

    def _pool_of(self, size: int) -> ShardPool:
        if self.pool is None or self.pool.size != size:
            self.close()
            self.pool = ShardPool(self._start, size, self._lose)
        return self.pool

    def _note(self, message: str) -> None:
        """Report what holds for many runs of a sweep once."""
        if message not in self._noted:
            self._noted.add(message)
            self._report(message)

    def _lose(self, message: str) -> None:
        self.losses.append(message)
        self._report(message)
