"""A model on prompts that are spread over workers, as the methods of a run use it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Concatenate

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.scoring import Arguments, EdgeScores, ScoringProblem, score_edges
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import (
    circuit_logits,
    differentiable_objective_for,
    measure_sums,
    objective_for,
)
from acdc_pipeline.execution.problem import Advance
from acdc_pipeline.execution.shards.grouped_search import GroupedSearch
from acdc_pipeline.execution.shards.pool import ShardPool
from acdc_pipeline.execution.shards.shard import PromptGroup
from acdc_pipeline.graph import Edge, Topology
from acdc_pipeline.metrics import METRICS
from acdc_pipeline.specs import ScoredMethod
from acdc_pipeline.specs.methods.scored import EdgeMeanMethod
from acdc_pipeline.specs.names import MetricKey


@dataclass(frozen=True)
class ShardedProblem:
    """A problem whose values are sums over groups of prompts, in the order of the groups.

    Args:
        pool: workers that are prepared for the run.
        counts: the number of answers, or of prompts with whole answers, of each group.
        like: an empty tensor of the type of gradients.
    """

    pool: ShardPool
    topology: Topology
    counts: Sequence[int]
    like: Float[Tensor, " 0"]

    def search(self, metric: MetricKey) -> Search[Any]:
        """A search whose states the workers evaluate."""
        return GroupedSearch(self.pool, self.topology, self.counts, metric)

    def scores(self, method: ScoredMethod, seed: int, advance: Advance) -> EdgeScores:
        """The score of every edge, from what the groups return."""
        problem = SpreadScoring(self, method.metric, seed, advance)
        if method.spread == "steps":
            return score_edges(problem, method)
        assert method.spread == "scores"
        if isinstance(method, EdgeMeanMethod) and method.sign_filter:
            raise InvalidInput(
                "signs are filtered in one process",
                field="sign_filter",
                fix="leave out the shards, or the filter",
            )
        values = problem.mean_in_steps(_scores_of, method)
        return dict(zip(self.topology.edges, values.tolist(), strict=True))

    def sign(self, metric: MetricKey) -> float:
        """The factor that orients `metric` so that higher is worse."""
        return METRICS[metric].sign

    def measure(
        self, edges: Collection[Edge], metrics: Sequence[MetricKey]
    ) -> dict[MetricKey, float]:
        """The metrics of the circuit of `edges`."""
        mask = np.packbits(self.topology.edge_mask(edges)).tobytes()
        return self._measure(metrics, measure_group, mask)

    def measure_whole(self, metrics: Sequence[MetricKey]) -> dict[MetricKey, float]:
        """The metrics of the whole model."""
        return self._measure(metrics, measure_whole_group)

    def measure_empty(self, metrics: Sequence[MetricKey]) -> dict[MetricKey, float]:
        """The metrics with every edge removed."""
        return self.measure((), metrics)

    def _measure(
        self, metrics: Sequence[MetricKey], function: Any, *arguments: Any
    ) -> dict[MetricKey, float]:
        sums: list[dict[MetricKey, float]] = self.pool.for_groups(
            [(function, (list(metrics), *arguments))]
        )
        total = sum(self.counts)
        return {
            name: sum(group[name] for group in sums) / total
            for name in metrics
            if all(name in group for group in sums)
        }


@dataclass(frozen=True)
class SpreadScoring:
    """What a method that scores edges takes its means from; see `MeanProblem`."""

    problem: ShardedProblem
    metric: MetricKey
    seed: int
    advance: Advance

    @property
    def topology(self) -> Topology:
        """The graph of the model."""
        return self.problem.topology

    @property
    def like(self) -> Float[Tensor, " 0"]:
        """An empty tensor of the type of gradients."""
        return self.problem.like

    def mean(
        self,
        function: Callable[Concatenate[ScoringProblem, Arguments], Float[Tensor, " value"]],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Float[Tensor, " value"]:
        """The mean over the groups, in their order; `function` is one of a module."""
        call = _mean_of_group, (function, self.metric, self.seed, arguments, keywords)
        return self._mean(self.problem.pool.for_groups([call])).to(self.like)

    def mean_in_steps(
        self,
        function: Callable[Concatenate[ScoringProblem, Arguments], Float[Tensor, " value"]],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Float[Tensor, " value"]:
        """As `mean`, with progress after each group, and in float64."""
        call = _mean_of_group, (function, self.metric, self.seed, arguments, keywords)
        n_groups = len(self.problem.counts)
        return self._mean(self.problem.pool.for_groups_in_steps(call, n_groups, self.advance))

    def _mean(self, results: list[Float[Tensor, " value"]]) -> Float[Tensor, " value"]:
        counts = self.problem.counts
        total = torch.zeros(len(results[0]), dtype=torch.float64)
        for result, n in zip(results, counts, strict=True):
            total += n * result.to(torch.float64)
        return total / sum(counts)


def _mean_of_group(
    group: PromptGroup,
    function: Callable[..., Float[Tensor, " value"]],
    metric: MetricKey,
    seed: int,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
) -> Float[Tensor, " value"]:
    """What `function` computes on one group of prompts."""
    if metric not in group.problems:
        bench = group.bench
        differentiable = differentiable_objective_for(bench, metric)
        objective = objective_for(bench, metric)
        group.problems[metric] = ScoringProblem(
            bench, objective, differentiable, seed, group.memory, lambda fraction: None
        )
    problem = replace(group.problems[metric], seed=seed)
    here = [one.to(problem.like) if isinstance(one, Tensor) else one for one in arguments]
    return function(problem, *here, **keywords).cpu()


def _scores_of(problem: ScoringProblem, method: ScoredMethod) -> Float[Tensor, " edge"]:
    """The scores of all edges, in the graph's order."""
    return torch.tensor(list(score_edges(problem, method).values()), dtype=torch.float64)


def measure_group(
    group: PromptGroup, metrics: Sequence[MetricKey], mask: bytes
) -> dict[str, float]:
    """The sums of metrics over one group of prompts, for the circuit of `mask`, packed bits."""
    topology = group.bench.weights.topology
    bits = np.unpackbits(np.frombuffer(mask, dtype=np.uint8), count=topology.n_edges)
    logits = circuit_logits(group.bench, topology.edges_in(bits))
    return measure_sums(group.bench, logits, metrics)


def measure_whole_group(group: PromptGroup, metrics: Sequence[MetricKey]) -> dict[str, float]:
    """The sums of metrics over one group of prompts, for the whole model."""
    return measure_sums(group.bench, group.bench.logits, metrics)
