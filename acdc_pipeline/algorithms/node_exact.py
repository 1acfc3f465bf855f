"""Exact effects of nodes: each removed from the whole model, one at a time."""

from __future__ import annotations

import torch

from acdc_pipeline.algorithms.node_scores import edges_of_nodes
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.graph import INPUT
from acdc_pipeline.specs.scored_method import NodeExactMethod


def node_exact(question: Question, method: NodeExactMethod) -> EdgeScores:
    """What removing each node alone costs, measured; an edge is worth as much as its weaker end.

        score(u) = M(model with ablated_u in place of u's output) - M(model)

    with M oriented so that higher is worse: activation patching (Vig et al. 2020, arXiv 2004.12265;
    Meng et al. 2022, arXiv 2202.05262). Higher means more needed, in units of the metric. Costs as
    many suffixes of a forward as there are nodes.
    """
    topology = question.bench.weights.topology
    nodes = {}
    with torch.no_grad():
        removals = SingleRemovals(question.bench, question.objective, question.memory)
        whole = removals.whole()
        for done, (node, value) in enumerate(removals.without_nodes(), start=1):
            nodes[node] = value - whole
            question.advance(done / len(topology.sources))
    del nodes[INPUT]
    return edges_of_nodes(topology, nodes, method.rank)
