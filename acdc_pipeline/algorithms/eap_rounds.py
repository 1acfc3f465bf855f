"""EAP-IG in rounds: edges are removed step by step, and the remaining ones scored again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.scoring import EdgeScores, MeanProblem, ScoringProblem
from acdc_pipeline.engine.gradients.gates import circuit_gradient
from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.specs.methods.scored import EapIgInputsMethod

# The strongest dropped edge is scaled to this fraction of the weakest remaining edge: a gap far
# larger than float32 rounding.
_BEHIND = 0.999


def eap_ig_in_rounds(problem: MeanProblem, method: EapIgInputsMethod) -> EdgeScores:
    """Scores of `eap-ig-inputs` in `rounds` circuits, each cut from the previous one.

    The score of an edge in the whole model is a poor estimate of its effect once most edges are
    removed. So round r of R scores the edges of the circuit of round r - 1 within that circuit, and
    `graph.cut` keeps the best n · (k / n)^(r / R) of n edges, where k is the size of the circuit to
    find. Pruning in rounds of geometrically decreasing size, with the saliency computed again in
    each, is the "progressive skeletonization" of de Jorge et al. 2021 (arXiv 2006.09081, section 3,
    equations 5 and 6) and the iterative ranking of Verdenius et al. 2020 (arXiv 2006.00896); here
    the saliency is that of edges, and removed edges do not return.

    An edge has the score of the last round it took part in. The scores of dropped edges are scaled
    down, round by round, to rank below all remaining ones: circuits of other sizes, cut from these
    scores, are nested in the order of removal.
    """
    topology = problem.topology
    n_edges = topology.n_edges
    remaining = topology.edge_set
    dropped: list[dict[Edge, float]] = []
    scores: Mapping[Edge, float] = {}
    for round_ in range(1, method.rounds + 1):
        done = (round_ - 1) / method.rounds
        scores = _scores_in_circuit(problem, method, remaining, done=done)
        if round_ == method.rounds:
            break
        share = (method.size(n_edges) / n_edges) ** (round_ / method.rounds)
        size = max(method.size(n_edges), round(share * n_edges))
        kept = cut(topology, scores, edges=size, rank=method.rank).edges
        if not kept:
            break
        dropped.append({edge: scores[edge] for edge in remaining - kept})
        remaining = kept
    out = dict(scores)
    for group in reversed(dropped):
        out |= _scale_below(group, min(abs(score) for score in out.values()))
    return {edge: out[edge] for edge in topology.edges}


def _scores_in_circuit(
    problem: MeanProblem, method: EapIgInputsMethod, remaining: frozenset[Edge], *, done: float
) -> Mapping[Edge, float]:
    """(ablated_u - output of u in the circuit) · mean ∂M/∂input_v in the circuit, by edge."""
    edges = problem.topology.edges
    present = torch.from_numpy(problem.topology.edge_mask(remaining)).to(problem.like)
    total = torch.zeros_like(present)
    for k in range(1, method.steps + 1):
        gradient = problem.mean(_gradient, present, k / method.steps)
        total += gradient / method.steps
        problem.advance(done + k / method.steps / method.rounds)
    scored = zip(edges, total.tolist(), strict=True)
    return {edge: score for edge, score in scored if edge in remaining}


def _gradient(
    problem: ScoringProblem, present: Float[Tensor, " edge"], share: float
) -> Float[Tensor, " edge"]:
    return circuit_gradient(problem.bench, problem.differentiable, present, share, problem.memory)


def _scale_below(scores: Mapping[Edge, float], weakest: float) -> dict[Edge, float]:
    """Scale the scores of dropped edges to rank below the weakest remaining edge."""
    strongest = max((abs(score) for score in scores.values()), default=0.0)
    factor = min(1.0, _BEHIND * weakest / strongest) if strongest else 1.0
    return {edge: factor * score for edge, score in scores.items()}
