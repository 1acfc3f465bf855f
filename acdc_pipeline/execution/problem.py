"""What methods need of a model on its prompts, and its computation in this process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms import ScoringProblem, score_edges
from acdc_pipeline.algorithms.scoring import EdgeScores
from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.evaluation import (
    circuit_logits,
    differentiable_objective_for,
    measure,
    metric_of,
    objective_for,
)
from acdc_pipeline.execution.sign_filter import filtered_scores
from acdc_pipeline.graph import Edge, Topology
from acdc_pipeline.specs import ScoredMethod
from acdc_pipeline.specs.methods.scored import EdgeMeanMethod
from acdc_pipeline.specs.names import MetricKey

Advance = Callable[[float], None]
"""Called with the fraction of the work that is done, from 0 to 1."""


@runtime_checkable
class Problem(Protocol):
    """A model on its prompts.

    Values of metrics are means over all answers, or over all prompts with whole answers. Metrics
    that need incorrect answers are left out of several if a prompt has none.
    """

    @property
    def topology(self) -> Topology:
        """The graph of the model."""
        ...

    def search(self, metric: MetricKey) -> Search[Any]:
        """A search that starts from the whole model and minimises the loss of `metric`."""
        ...

    def scores(self, method: ScoredMethod, seed: int, advance: Advance) -> EdgeScores:
        """The score of every edge by `method`."""
        ...

    def sign(self, metric: MetricKey) -> float:
        """The factor that orients `metric` so that higher is worse."""
        ...

    def measure(
        self, edges: Collection[Edge], metrics: Sequence[MetricKey]
    ) -> dict[MetricKey, float]:
        """The metrics of the circuit of `edges`, each in its own sign."""
        ...

    def measure_whole(self, metrics: Sequence[MetricKey]) -> dict[MetricKey, float]:
        """The metrics of the whole model."""
        ...

    def measure_empty(self, metrics: Sequence[MetricKey]) -> dict[MetricKey, float]:
        """The metrics with every edge removed."""
        ...


@dataclass(frozen=True)
class BenchProblem:
    """A problem that is computed in this process, on all prompts together.

    Args:
        memory: byte budget beside the weights.
        empty_logits: those with every edge removed; None to compute them where they are needed.
    """

    bench: Bench
    memory: int
    empty_logits: Float[Tensor, "answer vocab"] | None = None

    @property
    def topology(self) -> Topology:
        """The graph of the model."""
        return self.bench.weights.topology

    def search(self, metric: MetricKey) -> Search[Any]:
        """A search on all prompts."""
        return self.bench.search(objective_for(self.bench, metric), memory=self.memory)

    def scores(self, method: ScoredMethod, seed: int, advance: Advance) -> EdgeScores:
        """The score of every edge, as the function of the method computes it, and 0 if filtered."""
        if isinstance(method, EdgeMeanMethod) and method.sign_filter:
            return filtered_scores(self.bench, method, seed, self.memory, advance)
        problem = ScoringProblem(
            bench=self.bench,
            objective=objective_for(self.bench, method.metric),
            differentiable=differentiable_objective_for(self.bench, method.metric),
            seed=seed,
            memory=self.memory,
            advance=advance,
        )
        return score_edges(problem, method)

    def sign(self, metric: MetricKey) -> float:
        """The factor that orients `metric` so that higher is worse."""
        return metric_of(self.bench, metric).sign

    def measure(
        self, edges: Collection[Edge], metrics: Sequence[MetricKey]
    ) -> dict[MetricKey, float]:
        """The metrics of the circuit of `edges`."""
        return measure(self.bench, circuit_logits(self.bench, edges), metrics)

    def measure_whole(self, metrics: Sequence[MetricKey]) -> dict[MetricKey, float]:
        """The metrics of the whole model."""
        return measure(self.bench, self.bench.logits, metrics)

    def measure_empty(self, metrics: Sequence[MetricKey]) -> dict[MetricKey, float]:
        """The metrics with every edge removed."""
        empty = self.empty_logits
        logits = circuit_logits(self.bench, ()) if empty is None else empty
        return measure(self.bench, logits, metrics)
