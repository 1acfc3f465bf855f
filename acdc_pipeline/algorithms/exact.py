"""The exact effect of every edge, removed alone from the whole model."""

from __future__ import annotations

import torch

from acdc_pipeline.algorithms.scoring import EdgeScores, ScoringProblem
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.graph import Edge
from acdc_pipeline.specs.methods.scored import ExactMethod


def exact(problem: ScoringProblem, method: ExactMethod) -> EdgeScores:
    """The exact cost of removing each edge alone.

        score(e) = M(model without e) - M(model)

    with M oriented so that higher is worse: path patching (Wang et al. 2022, arXiv 2211.00593;
    Goldowsky-Dill et al. 2023, arXiv 2304.05969), which attribution patching estimates to first
    order. ACDC measures its effects in the circuit found so far instead. Two edges that can replace
    one another both score 0. Higher means more needed, in units of the metric. For each edge, the
    layers after it are computed again.
    """
    topology = problem.bench.weights.topology
    scores: dict[Edge, float] = {}
    with torch.no_grad():
        removals = SingleRemovals(problem.bench, problem.objective, problem.memory)
        baseline = removals.whole()
        for receiver in topology.receivers:
            for edge, value in removals.without_edges(receiver):
                scores[edge] = value - baseline
            problem.advance(len(scores) / topology.n_edges)
    return scores
