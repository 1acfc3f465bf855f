"""A worker's part of a run: its model, and its groups of prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from acdc_pipeline.algorithms import ScoringProblem
from acdc_pipeline.engine import Bench, check_parity
from acdc_pipeline.engine.bench import with_spans
from acdc_pipeline.engine.objectives import Objective
from acdc_pipeline.engine.prompt_groups import (
    count_groups,
    groups_of_worker,
    set_up_groups,
)
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.execution.environment import environment
from acdc_pipeline.execution.result_warnings import prompt_warnings
from acdc_pipeline.execution.worker import Worker, prompts_for
from acdc_pipeline.graph import Topology
from acdc_pipeline.heads.batches import require_row
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs import RunSpec, TaskSpec, circuit_method
from acdc_pipeline.specs.names import MetricKey


@dataclass
class PromptGroup:
    """Prompts that are computed together, and the searches in progress on them.

    Args:
        memory: byte budget of a search, the group's own activations included, also where these
            are spilled: batches depend on it, and are the same for any number of workers.
        searches: by the number that the driver gave them.
        problems: what methods that score edges are given, by metric.
    """

    bench: Bench
    memory: int
    searches: dict[int, Search[Any]] = field(default_factory=dict)
    problems: dict[MetricKey, ScoringProblem] = field(default_factory=dict)

    def search(self, objective: Objective) -> Search[Any]:
        """Return a search in the group's budget."""
        left = self.memory
        if self.bench.spill is not None:
            left = max(0, left - self.bench.memory_plan().sources)
        return self.bench.search(objective, memory=left)

    @property
    def count(self) -> int:
        """The number of answers, or of prompts with whole answers, that a mean is taken over."""
        prompts = self.bench.prompts
        return len(prompts.answer_row) if prompts.whole is None else len(prompts.whole)


@dataclass(frozen=True)
class ShardFacts:
    """What the driver has to know of a shard that is ready.

    Args:
        counts: of its groups, see `PromptGroup.count`.
        parity_error: the largest among its prompts.
        prompts: all prompts of the run, from the first shard; None from the others.
    """

    topology: Topology
    d_model: int
    counts: list[int]
    parity_error: float
    environment: dict[str, str]
    warnings: list[str]
    prompts: PromptSet | None


class Shard:
    """One worker's state: the model of the last run, and its groups of prompts.

    Attributes:
        subject: the run that independent jobs are about, with its task.
        kept: what these jobs keep for one another, by name.
    """

    def __init__(self, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.worker = Worker(device=device, shares=True)
        self.groups: list[PromptGroup] = []
        self.subject: tuple[RunSpec, TaskSpec] | None = None
        self.kept: dict[str, Any] = {}
        self._prepared: tuple[object, ...] | None = None
        self._facts: ShardFacts | None = None

    def prepare(
        self, run: RunSpec, task: TaskSpec, memory: int, number: int, shards: int
    ) -> ShardFacts:
        """Load what shard `number` of `shards` computes of `run`. Raises like `Worker.execute`."""
        key = (*part_of(run, memory), number, shards)
        for group in self.groups:
            group.searches.clear()
        if self._facts is not None and self._prepared == key:
            return self._facts
        self.groups, self._prepared, self._facts = [], None, None
        model = self.worker.model(run)
        prompts = prompts_for(model, task, n=run.prompts, seed=run.seed, positions=run.positions)
        require_row(model.weights, prompts.clean.shape[1], memory)
        warnings = prompt_warnings(run, prompts)
        n_groups = count_groups(prompts.n_prompts)
        wanted = groups_of_worker(n_groups, number, shards)
        ablation = circuit_method(run.method).ablation
        benches = set_up_groups(model.weights, prompts, ablation, wanted, memory)
        parity = 0.0
        for bench in benches:
            parity = max(parity, check_parity(model, bench.prompts.clean, bench.prompts.lengths))
        # An equal part for every group, wherever it is computed: batches depend on it.
        self.groups = [
            PromptGroup(bench, max(memory // n_groups, min(memory, bench.memory_plan().sources)))
            for bench in benches
        ]
        self._prepared = key
        self._facts = ShardFacts(
            topology=replace(with_spans(model.weights, prompts).topology),
            d_model=model.weights.d_model,
            counts=[group.count for group in self.groups],
            parity_error=parity,
            environment=environment(self.worker.device, run.dtype),
            warnings=warnings,
            prompts=prompts if number == 0 else None,
        )
        return self._facts


def part_of(run: RunSpec, memory: int) -> tuple[object, ...]:
    """What decides how a worker prepares for `run`: all but the method, whose ablation counts."""
    ablation = circuit_method(run.method).ablation
    of_model = run.model, run.model_revision, run.dtype, run.experts
    of_prompts = run.task_hash, run.prompts, run.seed, run.positions, run.spans_hash
    return *of_model, *of_prompts, ablation, memory


def prepare(
    shard: Shard, run: RunSpec, task: TaskSpec, memory: int, number: int, shards: int
) -> ShardFacts:
    """Call `Shard.prepare`."""
    return shard.prepare(run, task, memory, number, shards)


def for_groups(shard: Shard, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return the result of `function` for each group, in order."""
    return [function(group, *arguments) for group in shard.groups]


def for_group(shard: Shard, at: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return the result of `function` for the group at place `at` of this shard, if it exists."""
    return [function(group, *arguments) for group in shard.groups[at : at + 1]]
