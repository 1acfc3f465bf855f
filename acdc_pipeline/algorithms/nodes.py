"""Methods that score nodes; an edge has the score of its weaker end.

In a graph with spans a node has a score for what it writes in each of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.edge_attribution import max_prompts_at_once
from acdc_pipeline.algorithms.scoring import EdgeScores, MeanProblem, ScoringProblem
from acdc_pipeline.engine.forward import streams_from_outputs
from acdc_pipeline.engine.gradients.receiver_gradients import (
    GRADIENTS,
    final_gradient,
    receiver_gradients,
)
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.graph import INPUT, Edge, Node, Topology
from acdc_pipeline.graph.spans import spans_written
from acdc_pipeline.specs.methods.scored import HispMethod, NodeAttributionMethod, NodeExactMethod
from acdc_pipeline.specs.names import Rank


def node_attribution(problem: MeanProblem, method: NodeAttributionMethod) -> EdgeScores:
    """A first-order estimate of what removing each node costs (attribution patching of nodes).

        score(u) = (ablated_u - clean_u) · ∂M/∂output_u, at the clean run

    summed over prompts and positions (Nanda 2023; Syed et al. 2023, arXiv 2310.10348): the sum of
    EAP's scores of the edges out of u. As for EAP, KL divergence cannot be the metric. An edge has
    the score of its weaker end. Higher means more needed, in units of the metric.
    """
    effects = problem.mean(summed_effects).tolist()
    nodes = dict(zip(scored_outputs(problem.topology), effects, strict=True))
    return edge_scores_of_nodes(problem.topology, nodes, method.rank)


def node_exact(problem: MeanProblem, method: NodeExactMethod) -> EdgeScores:
    """The exact cost of removing each node alone; an edge has the score of its weaker end.

        score(u) = M(model with ablated_u in place of u's output) - M(model)

    with M oriented so that higher is worse: activation patching (Vig et al. 2020, arXiv 2004.12265;
    Meng et al. 2022, arXiv 2202.05262). Higher means more needed, in units of the metric. For
    each node, the layers after it are computed again.
    """
    costs = problem.mean(_costs_of_removal).tolist()
    nodes = dict(zip(scored_outputs(problem.topology), costs, strict=True))
    return edge_scores_of_nodes(problem.topology, nodes, method.rank)


def hisp(problem: MeanProblem, method: HispMethod) -> EdgeScores:
    """Head importance for pruning; an edge has the score of its weaker end.

        I(u) = mean over prompts of |(ablated_u - clean_u) · ∂M/∂output_u|
        score(u) = I(u) / sqrt(Σ I(w)² over the nodes w of u's layer)

    Under zero ablation I is |u · ∂M/∂u| of Michel et al. 2019 (arXiv 1905.10650, section 4.1),
    after Molchanov et al. 2017 (arXiv 1611.06440); with other ablations it is the variant that
    Conmy et al. 2023 (arXiv 2304.14997) compare with ACDC. Mixers and MLPs count as nodes of their
    layer. Between 0 and 1; higher means more needed, whether the node helps or hurts. As for EAP,
    KL divergence cannot be the metric.
    """
    effects = problem.mean(_summed_magnitudes).tolist()
    importance = dict(zip(scored_outputs(problem.topology), effects, strict=True))
    squares: dict[int | None, float] = defaultdict(float)
    for (node, _), value in importance.items():
        squares[node.layer] += value**2
    nodes = {
        # In a layer without any effect, all scores are 0.
        (node, span): value / squares[node.layer] ** 0.5 if squares[node.layer] > 0 else 0.0
        for (node, span), value in importance.items()
    }
    return edge_scores_of_nodes(problem.topology, nodes, method.ranking)


Output = tuple[Node, str | None]
"""What a node writes in a span, or everywhere in a graph without spans."""


def scored_outputs(topology: Topology) -> list[Output]:
    """Return the outputs that have a score: of all sources but `input`, in computation order."""
    return [(node, span) for node in topology.sources[1:] for span in topology.spans or (None,)]


def summed_effects(problem: ScoringProblem) -> Float[Tensor, " node"]:
    """The first-order effect of each output, on all prompts together."""
    effects = _first_order_effects(problem)
    return torch.stack([effects[output].sum() for output in scored_outputs(problem.topology)])


def _summed_magnitudes(problem: ScoringProblem) -> Float[Tensor, " node"]:
    """The magnitudes of the first-order effects of each output, over all prompts."""
    effects = _first_order_effects(problem)
    return torch.stack([effects[output].abs().sum() for output in scored_outputs(problem.topology)])


def _costs_of_removal(problem: ScoringProblem) -> Float[Tensor, " node"]:
    """The exact cost of removing each output."""
    outputs = scored_outputs(problem.topology)
    costs: dict[Output, float] = {}
    with torch.no_grad():
        removals = SingleRemovals(problem.bench, problem.objective, problem.memory)
        baseline = removals.whole()
        for done, (node, span, value) in enumerate(removals.without_nodes(), start=1):
            costs[node, span] = value - baseline
            problem.advance(min(1.0, done / len(outputs)))
    return torch.tensor([costs[output] for output in outputs], dtype=torch.float64)


def _first_order_effects(problem: ScoringProblem) -> dict[Output, Float[Tensor, " batch"]]:
    """(ablated_u - clean_u) · ∂M/∂output_u at the clean run, by output u and by prompt.

    Summed over the positions of a prompt, or of a span. M is a mean over all answers, so that the
    sum over prompts estimates the cost of replacing u. The gradient with respect to a node's output
    is the sum of those with respect to the inputs of its readers.
    """
    bench = problem.bench
    topology = bench.weights.topology
    streams = streams_from_outputs(bench.weights, bench.clean)
    at_final = final_gradient(problem.differentiable, bench.layout, streams.final)
    effects = {
        output: torch.zeros(bench.layout.batch, dtype=torch.float64)
        for output in ((INPUT, None), *scored_outputs(topology))
    }
    at_once = max_prompts_at_once(bench, problem.memory)
    for start in range(0, bench.layout.batch, at_once):
        chosen = slice(start, start + at_once)
        part = streams.of_prompts(chosen)
        reader_gradient = torch.zeros_like(part.final)
        remaining = len(topology.sources)
        for group in receiver_gradients(bench.weights, part, at_final[chosen], GRADIENTS):
            seen = topology.n_sources_of(group.receivers[0])
            # The readers of sources that come after this receiver have all been visited.
            for row in range(seen, remaining):
                step = bench.ablated[row, chosen] - bench.clean.outputs[row, chosen]
                products = step * reader_gradient
                for span, share in _by_span(products, bench.layout, topology, chosen):
                    of_span = effects.get((topology.sources[row], span))
                    if of_span is not None:
                        of_span[chosen] = share.cpu().double()
            remaining = seen
            reader_gradient = reader_gradient + group.gradient.sum(0)
        problem.advance(min(1.0, (start + at_once) / bench.layout.batch))
    return effects


def _by_span(
    products: Float[Tensor, "batch pos d_model"], layout: Layout, topology: Topology, chosen: slice
) -> Iterator[tuple[str | None, Float[Tensor, " batch"]]]:
    """The sums over the positions of each span, or of all without spans."""
    if layout.span_index is None:
        yield None, products.sum((1, 2))
        return
    by_position = products.sum(2)
    for number, span in enumerate(topology.spans):
        yield span, (by_position * (layout.span_index[chosen] == number)).sum(1)


def edge_scores_of_nodes(
    topology: Topology, nodes: Mapping[Output, float], rank: Rank
) -> EdgeScores:
    """Give each edge the score of its weaker end, so that a cut takes the best nodes one by one.

    `input`, `logits` and routers have no score: an edge of theirs has that of its other end, and
    one between two of them that of the best node. The circuit consists of the edges among the best
    nodes; of the last node it may hold only some edges, if its size does not allow more. In a graph
    with spans the end of an edge into a key, a value or a mixer is the best output of its node that
    sees it.

    Args:
        topology: the graph.
        nodes: the score of every output of a head, mixer and MLP, or expert.
        rank: whether the weaker end is the one with the lower score or with the lower magnitude.
    """

    def importance(output: Output) -> float:
        return abs(nodes[output]) if rank == "magnitude" else nodes[output]

    best = nodes[max(nodes, key=importance)]
    scores = {}
    for receiver in topology.receivers:
        read = [(receiver.node, span) for span in spans_written(receiver, topology.visible)]
        ends = [max(read, key=importance)] if read[0] in nodes else []
        for source in topology.sources_of(receiver):
            both = [*ends, *([written] if (written := (source, receiver.span)) in nodes else [])]
            scores[Edge.into(source, receiver)] = (
                nodes[min(both[::-1], key=importance)] if both else best
            )
    return scores
