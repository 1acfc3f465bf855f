"""EAP-IG over activations: each source moved on its own (Mueller et al. 2025, arXiv 2504.13151)."""

from __future__ import annotations

from collections.abc import Iterator

from acdc_pipeline.algorithms.edge_attribution import EdgeAttribution
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.engine.forward import changed_streams, streams_from_outputs
from acdc_pipeline.graph import INPUT, Node, Topology, mlp
from acdc_pipeline.specs.scored_method import EapIgActivationsMethod


def eap_ig_activations(question: Question, method: EapIgActivationsMethod) -> EdgeScores:
    """EAP with the mean of gradients along the way of the edge's own source.

        score(u → v) = (ablated_u - clean_u) · 1/m Σ_k ∂M/∂input_v
                       at z_u' + k/m (z_u - z_u'), k = 1…m

    where u alone writes something between its clean output z_u and its ablated one z_u', and all
    else follows from the clean prompt (the "activations" variant of the MIB benchmark). Heads of
    one layer move together, as in EAP-IG's code: they do not see one another, and it takes 2L + 1
    ways in place of one for each head. As m grows, the scores of all edges out of such a group sum
    to what replacing its outputs in the whole model does to the metric. The KL may be the metric.
    Higher means more needed, in units of the metric.
    """
    bench = question.bench
    attribution = EdgeAttribution(question, points=method.steps)
    index = {node: i for i, node in enumerate(bench.weights.topology.sources)}
    clean = streams_from_outputs(bench.weights, bench.clean)
    for group in _groups(bench.weights.topology):
        rows = slice(index[group[0]], index[group[-1]] + 1)
        step = (bench.ablated[rows] - bench.clean.outputs[rows]).sum(0)
        for k in range(1, method.steps + 1):
            change = (1 - k / method.steps) * step
            attribution.add(changed_streams(bench.weights, clean, group[0], change[None]), group)
    return attribution.scores()


def _groups(topology: Topology) -> Iterator[tuple[Node, ...]]:
    """Sources that move together, in computation order."""
    yield (INPUT,)
    for layer in range(topology.n_layers):
        yield tuple(topology.heads(layer))
        if topology.has_mlp:
            yield (mlp(layer),)
