"""Random scores: what a circuit of the same size is worth that knows nothing."""

from __future__ import annotations

import torch

from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.specs.scored_method import RandomMethod


def random_scores(question: Question, method: RandomMethod) -> EdgeScores:  # noqa: ARG001  (every scorer has it)
    """A number between 0 and 1 for every edge, drawn from the seed alone.

    Cut by the rule of all other methods, so that its circuits differ from theirs in the scores
    only: the null that they have to beat.
    """
    edges = question.bench.weights.topology.edges
    generator = torch.Generator().manual_seed(question.seed)
    drawn = torch.rand(len(edges), generator=generator, dtype=torch.float64)
    question.advance(1.0)
    return dict(zip(edges, drawn.tolist(), strict=True))
