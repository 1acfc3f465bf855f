"""What a method that scores edges is given and returns, and how a run calls it."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine import Bench, LogprobObjective, Objective
from acdc_pipeline.graph import Edge, Topology
from acdc_pipeline.specs.methods.scored import RandomMethod, ScoredMethod

EdgeScores = Mapping[Edge, float]
"""A score for every edge of the graph. Higher means more needed; each method names its unit."""


class DetailedScores(dict[Edge, float]):
    """Scores of edges, with what else the method found.

    Args:
        details: as JSON data; part of the record of the run.
    """

    def __init__(self, scores: EdgeScores, details: Mapping[str, Any]) -> None:
        super().__init__(scores)
        self.details = dict(details)


Arguments = ParamSpec("Arguments")


@runtime_checkable
class MeanProblem(Protocol):
    """What a method needs whose steps are means over prompts, wherever the prompts are computed.

    Attributes:
        like: an empty tensor, of the type and on the device of gradients.
    """

    @property
    def topology(self) -> Topology:
        """The graph of the model."""
        ...

    @property
    def like(self) -> Float[Tensor, " 0"]:
        """An empty tensor, of the type and on the device of gradients."""
        ...

    @property
    def seed(self) -> int:
        """Seeds every random draw."""
        ...

    @property
    def advance(self) -> Callable[[float], None]:
        """Called with the fraction of the work that is done, from 0 to 1."""
        ...

    def mean(
        self,
        function: Callable[Concatenate[ScoringProblem, Arguments], Float[Tensor, " value"]],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Float[Tensor, " value"]:
        """The mean over all answers of what `function` computes as the mean over some."""
        ...


@dataclass(frozen=True)
class ScoringProblem:
    """A model at work on prompts, whose edges are to be scored.

    Args:
        bench: the model and its prompts.
        objective: the cost of removing edges, without gradients; higher is worse.
        differentiable: the same with gradients.
        seed: seeds every random draw.
        memory: byte budget beside weights and bench.
        advance: called with the fraction of the work that is done, from 0 to 1.
    """

    bench: Bench
    objective: Objective
    differentiable: LogprobObjective
    seed: int
    memory: int
    advance: Callable[[float], None]

    @property
    def topology(self) -> Topology:
        """The graph of the model."""
        return self.bench.weights.topology

    @property
    def like(self) -> Float[Tensor, " 0"]:
        """An empty tensor, of the type and on the device of gradients."""
        weights = self.bench.weights
        return torch.empty(0, dtype=weights.dtype, device=weights.device)

    def mean(
        self,
        function: Callable[Concatenate[ScoringProblem, Arguments], Float[Tensor, " value"]],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Float[Tensor, " value"]:
        """What `function` computes: the bench has all prompts."""
        return function(self, *arguments, **keywords)


Some = TypeVar("Some", bound=MeanProblem)


def scale_progress(problem: Some, begin: float, end: float) -> Some:
    """`problem` as a part of the work, which takes the fraction of it from `begin` to `end`."""

    def advance(fraction: float) -> None:
        problem.advance(begin + (end - begin) * fraction)

    return replace(problem, advance=advance)  # pyright: ignore[reportArgumentType]


def score_edges(problem: MeanProblem, method: ScoredMethod) -> EdgeScores:
    """The score of every edge, by the function that `method.COMPUTE` names.

    A `ScoringProblem` suits every method, any other one those whose `spread` is `steps`.
    """
    compute = pkgutil.resolve_name(method.COMPUTE)
    if isinstance(problem, ScoringProblem) and problem.bench.weights.one_span is not None:
        scores = compute(replace(problem, bench=problem.bench.without_one_span), method)
        named = {edge: scores[replace(edge, span=None)] for edge in problem.topology.edges}
        with_more = isinstance(scores, DetailedScores)
        return DetailedScores(named, scores.details) if with_more else named
    return compute(problem, method)


def random_scores(problem: MeanProblem, method: RandomMethod) -> EdgeScores:
    """A uniform random number from 0 to 1 for every edge, drawn from the seed alone.

    The null model of all other methods: its circuits are cut by the same rule.
    """
    edges = problem.topology.edges
    generator = torch.Generator().manual_seed(problem.seed)
    drawn = torch.rand(len(edges), generator=generator, dtype=torch.float64)
    problem.advance(1.0)
    return dict(zip(edges, drawn.tolist(), strict=True))
