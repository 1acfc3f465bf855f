"""Integrated gradients taken anew in what they left: edges go in rounds."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.engine.gradients.gates import circuit_gradient
from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.specs.scored_method import EapIgInputsMethod

# How far below the weakest edge left the strongest edge dropped is put: far more than float32
# rounds away.
_BEHIND = 0.999


def narrowing(question: Question, method: EapIgInputsMethod) -> EdgeScores:
    """Scores of `eap-ig-inputs`, taken in `rounds` circuits, each cut from the one before.

    What an edge is worth in the whole model says little of what it is worth once most edges are
    gone. So round r of R scores the edges of the circuit of round r - 1, in that circuit, and the
    best are left, by `graph.cut`: of n edges n · (k / n)^(r / R), where k is the size asked for.
    Pruning in such rounds, with the saliency taken anew and sizes in a geometric row, is the
    "progressive skeletonization" of de Jorge et al. 2021 (arXiv 2006.09081, section 3, equations 5
    and 6) and the iterative ranking of Verdenius et al. 2020 (arXiv 2006.00896); here the saliency
    is that of edges, and what is gone stays gone.

    The score of an edge is that of the last round it was in. Those that were dropped are scaled
    down by round, so that they stay behind all that were left: circuits of other sizes, cut from
    these scores, are nested in the order in which edges went.
    """
    topology = question.bench.weights.topology
    n_edges = topology.n_edges
    left = topology.edge_set
    dropped: list[dict[Edge, float]] = []
    scores: Mapping[Edge, float] = {}
    for round_ in range(1, method.rounds + 1):
        scores = _in_circuit(question, left, method.steps, (round_ - 1) / method.rounds, method)
        if round_ == method.rounds:
            break
        share = (method.size(n_edges) / n_edges) ** (round_ / method.rounds)
        size = max(method.size(n_edges), round(share * n_edges))
        kept = cut(topology, scores, edges=size, rank=method.rank).edges
        if not kept:
            break
        dropped.append({edge: scores[edge] for edge in left - kept})
        left = kept
    out = dict(scores)
    for gone in reversed(dropped):
        out |= _behind(gone, min(abs(score) for score in out.values()))
    return {edge: out[edge] for edge in topology.edges}


def _in_circuit(
    question: Question,
    left: frozenset[Edge],
    steps: int,
    done: float,
    method: EapIgInputsMethod,
) -> Mapping[Edge, float]:
    """(ablated_u - u's output in the circuit) · mean gradient of what v reads in it, by edge."""
    bench = question.bench
    edges = bench.weights.topology.edges
    present = torch.from_numpy(bench.weights.topology.edge_mask(left)).to(bench.ablated)
    total = torch.zeros_like(present)
    for k in range(1, steps + 1):
        slopes = circuit_gradient(
            bench, question.differentiable, present, k / steps, question.memory
        )
        total += slopes / steps
        question.advance(done + k / steps / method.rounds)
    scored = zip(edges, total.tolist(), strict=True)
    return {edge: score for edge, score in scored if edge in left}


def _behind(gone: Mapping[Edge, float], weakest: float) -> dict[Edge, float]:
    """The scores of edges that were dropped, below that of the weakest edge that was left."""
    strongest = max((abs(score) for score in gone.values()), default=0.0)
    factor = min(1.0, _BEHIND * weakest / strongest) if strongest else 1.0
    return {edge: factor * score for edge, score in gone.items()}
