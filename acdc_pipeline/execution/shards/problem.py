"""A model on prompts that are spread over workers, as the methods of a run use it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acdc_pipeline.algorithms.scoring import EdgeScores
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.evaluation import circuit_logits, measure_sums
from acdc_pipeline.execution.problem import Advance, BenchProblem
from acdc_pipeline.execution.shards.grouped_search import GroupedSearch
from acdc_pipeline.execution.shards.pool import ShardPool
from acdc_pipeline.execution.shards.shard import PromptGroup
from acdc_pipeline.graph import Edge, Topology
from acdc_pipeline.metrics import METRICS
from acdc_pipeline.specs import ScoredMethod
from acdc_pipeline.specs.names import MetricKey


@dataclass(frozen=True)
class ShardedProblem:
    """A problem whose values are sums over groups of prompts, in the order of the groups.

    Args:
        pool: workers that are prepared for the run.
        counts: the number of answers, or of prompts with whole answers, of each group.
    """

    pool: ShardPool
    topology: Topology
    counts: Sequence[int]

    def search(self, metric: MetricKey) -> Search[Any]:
        """A search whose states the workers evaluate."""
        return GroupedSearch(self.pool, self.topology, self.counts, metric)

    def scores(self, method: ScoredMethod, seed: int, advance: Advance) -> EdgeScores:
        """The mean of the scores of the groups; `method` is one whose scores add up."""
        assert method.scores_add_up
        call = score_group, (method, seed)
        results = self.pool.for_groups_in_steps(call, len(self.counts), advance)
        total = np.zeros(self.topology.n_edges)
        for scores, n in zip(results, self.counts, strict=True):
            total += n * scores
        values = (total / sum(self.counts)).tolist()
        return dict(zip(self.topology.edges, values, strict=True))

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


def score_group(group: PromptGroup, method: ScoredMethod, seed: int) -> np.ndarray:
    """The scores of all edges on one group of prompts, in the graph's order."""
    problem = BenchProblem(group.bench, group.memory)
    scores = problem.scores(method, seed, lambda fraction: None)
    return np.array(list(scores.values()))


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
