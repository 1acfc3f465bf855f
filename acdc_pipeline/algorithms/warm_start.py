"""Edge pruning whose gates start from scores in place of all open."""

from __future__ import annotations

from math import exp, expm1, log

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.gates import CLOSED_LOG_ODDS, prune_edges
from acdc_pipeline.algorithms.scoring import (
    EdgeScores,
    MeanProblem,
    ScoringProblem,
    scale_progress,
    score_edges,
)
from acdc_pipeline.specs.methods.ensembles import EapIgEdgePruningMethod
from acdc_pipeline.specs.methods.scored import ScoredMethod

# The chance that a gate is open at first falls from the best to the worst edge as a sigmoid of the
# rank, 0 to 1, over this width; and so many gates are closed at most.
_WIDTH = 0.2
_MOST_CLOSED = 0.9
_LEAST_CLOSED = 0.01
# Magnitudes that differ by less than this share of the largest are rounding.
_EQUAL = 1e-7


def eap_ig_edge_pruning(problem: MeanProblem, method: EapIgEdgePruningMethod) -> EdgeScores:
    """Edge pruning (Bhaskar et al. 2024, arXiv 2406.16778), warm-started by `eap-ig-inputs`.

    The sequential ensemble of Mondorf et al. 2025 (arXiv 2510.06811). The gate of an edge starts
    where `start_log_alpha` puts it by the magnitude of its score. At first 90 % of the gates are
    expected to be closed, or as many as the circuit leaves out if that is less; the share rises
    from there to that of the circuit. All else is `edge_pruning`. The authors' code has the same
    widths and shares, but ranks edges within each layer; without any step of training the ranking
    here is that of `eap-ig-inputs` by magnitude. Higher means more needed; a gate of score 0 is
    open as often as closed.
    """
    at_scores = method.points / (method.points + method.steps)
    scores = mean_scores(problem, method.scoring, 0.0, at_scores)
    return prune_from(scale_progress(problem, at_scores, 1.0), method, scores)


def prune_from(
    problem: MeanProblem, method: EapIgEdgePruningMethod, scores: Float[Tensor, " edge"]
) -> EdgeScores:
    """`eap_ig_edge_pruning` from `scores`."""
    left_out = 1 - method.size(len(scores)) / len(scores)
    closed = min(max(left_out, _LEAST_CLOSED), _MOST_CLOSED)
    start = start_log_alpha(scores, 1 - closed).to(problem.like)
    return prune_edges(problem, method, start, min(closed, left_out))


def start_log_alpha(scores: Float[Tensor, " edge"], share_open: float) -> Float[Tensor, " edge"]:
    """The log α of gates of which `share_open` are open in expectation, from scores of edges.

        chance of being open = sigmoid((q - b) / width)

    with q the rank of the edge by magnitude, from 0 to 1 (the mean of their ranks where several are
    equal), and b such that the mean over q is `share_open`, above 0 and below 1.
    """
    size = scores.double().abs()
    steps = (size / (_EQUAL * size.max().clamp_min(torch.finfo(torch.float64).tiny))).round()
    _, place, counts = steps.unique(return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0) - (counts + 1) / 2
    q = ranks[place] / max(1, len(scores) - 1)
    # The mean of the sigmoid is width · log((1 + exp((1 - b) / width)) / (1 + exp(-b / width))).
    scaled = share_open / _WIDTH
    offset = log(expm1(scaled) / (exp(1 / _WIDTH) - exp(scaled)))
    return q / _WIDTH + offset + CLOSED_LOG_ODDS


def mean_scores(
    problem: MeanProblem, method: ScoredMethod, begin: float, end: float
) -> Float[Tensor, " edge"]:
    """The scores of all edges by a method that is a mean over prompts, in the graph's order.

    Args:
        begin: the fraction of the work that is done before.
        end: the fraction that is done then.
    """
    scores = problem.mean(_scores, method, begin, end)
    problem.advance(end)
    return scores


def _scores(
    problem: ScoringProblem, method: ScoredMethod, begin: float, end: float
) -> Float[Tensor, " edge"]:
    scored = score_edges(scale_progress(problem, begin, end), method)
    return torch.tensor(list(scored.values()), dtype=torch.float64)
