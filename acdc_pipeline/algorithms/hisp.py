"""HISP: head importance scores for pruning (Michel et al. 2019, arXiv 1905.10650, section 4.1)."""

from __future__ import annotations

from collections import defaultdict

from acdc_pipeline.algorithms.node_scores import edges_of_nodes
from acdc_pipeline.algorithms.node_steps import node_steps
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.specs.scored_method import HispMethod


def hisp(question: Question, method: HispMethod) -> EdgeScores:
    """How much each node matters within its layer; an edge is worth as much as its weaker end.

        I(u) = mean over prompts of |(ablated_u - clean_u) · ∂M/∂output_u|
        score(u) = I(u) / sqrt(Σ I(w)² over the nodes w of u's layer)

    Under zero ablation that is the paper's |u · ∂M/∂u|, after Molchanov et al. 2017 (arXiv
    1611.06440); with other ablations it is as Conmy et al. 2023 (arXiv 2304.14997) compare it with
    ACDC. Here MLPs count as nodes of their layer too. Between 0 and 1, higher means more needed;
    it does not say whether a node helps or hurts. As in EAP, the KL cannot be the metric.
    """
    steps = node_steps(question)
    importance = {node: float(by_prompt.abs().sum()) for node, by_prompt in steps.items()}
    squares: dict[int | None, float] = defaultdict(float)
    for node, value in importance.items():
        squares[node.layer] += value**2
    nodes = {node: _share(value, squares[node.layer]) for node, value in importance.items()}
    return edges_of_nodes(question.bench.weights.topology, nodes, method.ranking)


def _share(value: float, squares: float) -> float:
    """Of a layer's norm; 0 where the whole layer does nothing."""
    return value / squares**0.5 if squares > 0 else 0.0
