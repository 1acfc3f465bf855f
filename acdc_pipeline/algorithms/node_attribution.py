"""Attribution patching of nodes (Nanda 2023; Syed et al. 2023, arXiv 2310.10348)."""

from __future__ import annotations

from acdc_pipeline.algorithms.node_scores import edges_of_nodes
from acdc_pipeline.algorithms.node_steps import node_steps
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.specs.scored_method import NodeAttributionMethod


def node_attribution(question: Question, method: NodeAttributionMethod) -> EdgeScores:
    """What removing each node costs, to first order; an edge is worth as much as its weaker end.

        score(u) = (ablated_u - clean_u) · ∂M/∂output_u, at the clean run

    summed over prompts and positions: the sum of EAP's scores of the edges out of u. As there, the
    KL cannot be the metric. Higher means more needed, in units of the metric.
    """
    nodes = {node: float(steps.sum()) for node, steps in node_steps(question).items()}
    return edges_of_nodes(question.bench.weights.topology, nodes, method.rank)
