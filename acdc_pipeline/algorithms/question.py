"""What a method that scores edges is given, and what it answers with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from acdc_pipeline.engine import Bench, LogprobObjective, Objective
from acdc_pipeline.graph import Edge

EdgeScores = Mapping[Edge, float]
"""A score for every edge of the graph. Higher means more needed; each method says in what unit."""


@dataclass(frozen=True)
class Question:
    """Which edges does this model need on these prompts?

    Args:
        bench: the model at work on its prompts.
        objective: what is lost when edges go, without gradients; higher is worse.
        differentiable: the same with gradients.
        seed: of everything that is drawn.
        memory: bytes for what is held beside weights and bench.
        advance: called with the share of the work done, from 0 to 1.
    """

    bench: Bench
    objective: Objective
    differentiable: LogprobObjective
    seed: int
    memory: int
    advance: Callable[[float], None]
