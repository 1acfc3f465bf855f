"""From scores of nodes to scores of edges."""

from __future__ import annotations

from collections.abc import Mapping

from acdc_pipeline.algorithms.question import EdgeScores
from acdc_pipeline.graph import INPUT, LOGITS, Node, Topology
from acdc_pipeline.specs.names import Rank


def edges_of_nodes(topology: Topology, nodes: Mapping[Node, float], rank: Rank) -> EdgeScores:
    """Each edge scored by its weaker end, so that cutting edges takes the best nodes one by one.

    `input` and `logits` are no candidates: an edge is as good as its other end, and `input->logits`
    as the best node of all. The edges among the best nodes are the circuit; the last node may come
    in with only some of its edges, where the size leaves no room for all.

    Args:
        topology: the graph.
        nodes: the score of every head and MLP.
        rank: what makes an end weak: a small score, or a small magnitude.
    """

    def worth(node: Node) -> float:
        return abs(nodes[node]) if rank == "magnitude" else nodes[node]

    best = nodes[max(nodes, key=worth)]
    scores = {}
    for edge in topology.edges:
        ends = [node for node in (edge.src, edge.dst) if node not in (INPUT, LOGITS)]
        scores[edge] = nodes[min(ends, key=worth)] if ends else best
    return scores
