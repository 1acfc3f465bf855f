"""Exact effects: every edge removed from the whole model, one at a time."""

from __future__ import annotations

import torch

from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.graph import Edge
from acdc_pipeline.specs.scored_method import ExactMethod


def exact(question: Question, method: ExactMethod) -> EdgeScores:  # noqa: ARG001  (every scorer has it)
    """What removing each edge alone costs, measured.

        score(e) = M(model without e) - M(model)

    with M oriented so that higher is worse. What attribution patching estimates to first order
    (activation patching of paths: Wang et al. 2022, arXiv 2211.00593; Goldowsky-Dill et al. 2023,
    arXiv 2304.05969). ACDC's effects differ from these in that they are measured in the circuit
    cut so far. Two edges that can stand in for one another both score 0. Higher means more needed,
    in units of the metric. Costs as many suffixes of a forward as there are edges.
    """
    topology = question.bench.weights.topology
    scores: dict[Edge, float] = {}
    with torch.no_grad():
        removals = SingleRemovals(question.bench, question.objective, question.memory)
        whole = removals.whole()
        for receiver in topology.receivers:
            for edge, value in removals.without_edges(receiver):
                scores[edge] = value - whole
            question.advance(len(scores) / topology.n_edges)
    return scores
