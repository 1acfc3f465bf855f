"""What a method that scores edges is given and returns, and how a run calls it."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from acdc_pipeline.engine import Bench, LogprobObjective, Objective
from acdc_pipeline.graph import Edge
from acdc_pipeline.specs.methods.scored import RandomMethod, ScoredMethod

EdgeScores = Mapping[Edge, float]
"""A score for every edge of the graph. Higher means more needed; each method names its unit."""


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


def score_edges(problem: ScoringProblem, method: ScoredMethod) -> EdgeScores:
    """The score of every edge, by the function that `method.COMPUTE` names."""
    return pkgutil.resolve_name(method.COMPUTE)(problem, method)


def random_scores(problem: ScoringProblem, method: RandomMethod) -> EdgeScores:
    """A uniform random number from 0 to 1 for every edge, drawn from the seed alone.

    The null model of all other methods: its circuits are cut by the same rule.
    """
    edges = problem.bench.weights.topology.edges
    generator = torch.Generator().manual_seed(problem.seed)
    drawn = torch.rand(len(edges), generator=generator, dtype=torch.float64)
    problem.advance(1.0)
    return dict(zip(edges, drawn.tolist(), strict=True))
