"""Edge attribution patching and its variants: relevance, or several gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from acdc_pipeline.algorithms.eap_rounds import eap_ig_in_rounds
from acdc_pipeline.algorithms.edge_attribution import EdgeAttribution
from acdc_pipeline.algorithms.scoring import EdgeScores, MeanProblem, ScoringProblem
from acdc_pipeline.engine.forward import changed_streams, run_streams, streams_from_outputs
from acdc_pipeline.engine.gradients.relevance import RELEVANCE
from acdc_pipeline.graph import INPUT, Node, Topology
from acdc_pipeline.specs.methods.scored import (
    CleanCorruptedMethod,
    EapIgActivationsMethod,
    EapIgInputsMethod,
    EapMethod,
    RelpMethod,
)


def eap(problem: ScoringProblem, method: EapMethod) -> EdgeScores:
    """A first-order estimate of what removing each edge from the whole model costs.

        score(u → v) = (ablated_u - clean_u) · ∂M/∂input_v, at the clean run

    summed over prompts and positions: two forward passes and one backward pass in all (Syed et al.
    2023, arXiv 2310.10348). At the clean run the KL divergence from the model itself is at its
    minimum and its gradient is 0, so that the metric has to be another one, as in the paper. Higher
    means more needed, in units of the metric.
    """
    attribution = EdgeAttribution(problem, points=1)
    bench = problem.bench
    attribution.add(streams_from_outputs(bench.weights, bench.clean))
    return attribution.scores()


def relp(problem: ScoringProblem, method: RelpMethod) -> EdgeScores:
    """EAP with coefficients of layer-wise relevance propagation in place of gradients.

        score(u → v) = (ablated_u - clean_u) · ρ_v, at the clean run

    summed over prompts and positions: two forward passes and one backward pass in all (Rezaei
    Jafari et al. 2025, arXiv 2508.21258, whose equation is for nodes). ρ_v is what the gradient by
    the input of v would be if norms scaled by constants, activation functions multiplied by the
    constants f(x) / x, and products of activations passed half to each factor: see
    `engine.gradients.relevance`. The paper's optional rule for attention, which treats patterns as
    constants, is not used: queries and keys would have no scores. The metric must have a gradient
    at the clean run. Higher means more needed, in units of the metric.
    """
    attribution = EdgeAttribution(problem, points=1, propagation=RELEVANCE)
    bench = problem.bench
    attribution.add(streams_from_outputs(bench.weights, bench.clean))
    return attribution.scores()


def eap_ig_inputs(problem: MeanProblem, method: EapIgInputsMethod) -> EdgeScores:
    """EAP with the mean gradient on the line from the ablated to the clean embedding.

        score(u → v) = (ablated_u - clean_u) · 1/m Σ_k ∂M/∂input_v at z' + k/m (z - z'), k = 1…m

    with z the clean output of `input` and z' its ablated one, in the paper that of the corrupted
    prompt (Hanna et al. 2024, arXiv 2403.17806). Each point takes a forward pass of its own. As m
    grows, the scores of the edges out of `input` sum to the change of the metric between the two
    ends. KL divergence may be the metric: only the last point, the clean run itself, has gradient 0
    then. Higher means more needed, in units of the metric. For several rounds, see
    `eap_ig_in_rounds`.
    """
    if method.rounds > 1:
        return eap_ig_in_rounds(problem, method)
    assert isinstance(problem, ScoringProblem)
    attribution = EdgeAttribution(problem, points=method.steps)
    bench = problem.bench
    clean, ablated = bench.clean.outputs[0], bench.ablated[0]
    for k in range(1, method.steps + 1):
        embedded = ablated + k / method.steps * (clean - ablated)
        attribution.add(run_streams(bench.weights, embedded))
    return attribution.scores()


def eap_ig_activations(problem: ScoringProblem, method: EapIgActivationsMethod) -> EdgeScores:
    """EAP with the mean gradient on the line from the source's ablated to its clean output.

        score(u → v) = (ablated_u - clean_u) · 1/m Σ_k ∂M/∂input_v
                       at z_u' + k/m (z_u - z_u'), k = 1…m

    where z_u is the clean output of u and z_u' its ablated one; all other nodes compute theirs from
    the clean prompt and from u (the "activations" variant of the MIB benchmark: Mueller et al.
    2025, arXiv 2504.13151). The heads of one layer, which do not read one another, are changed
    together, as in the code of EAP-IG, and so are the experts of a mixture: that takes 2L + 1 lines
    in place of one for each node (in layers of heads and an MLP). As m grows, the scores of all
    edges out of such a group sum to the effect of replacing its outputs in the whole model. KL
    divergence may be the metric. Higher means more needed, in units of the metric.
    """
    points = [k / method.steps for k in range(1, method.steps + 1)]
    return attribute_by_group(problem, points)


def attribute_by_group(problem: ScoringProblem, points: Sequence[float]) -> EdgeScores:
    """The scores of `eap_ig_activations` with the mean gradient over any `points`.

    Args:
        points: each from 0, where the outputs of a group are ablated, to 1, where they are clean.
    """
    bench = problem.bench
    attribution = EdgeAttribution(problem, points=len(points))
    index = {node: i for i, node in enumerate(bench.weights.topology.sources)}
    clean = streams_from_outputs(bench.weights, bench.clean)
    for group in source_groups(bench.weights.topology):
        rows = slice(index[group[0]], index[group[-1]] + 1)
        step = (bench.ablated[rows] - bench.clean.outputs[rows]).sum(0)
        for point in points:
            change = (1 - point) * step
            attribution.add(changed_streams(bench.weights, clean, group[0], change[None]), group)
    return attribution.scores()


def source_groups(topology: Topology) -> Iterator[tuple[Node, ...]]:
    """The groups of sources that are changed together, in computation order."""
    yield (INPUT,)
    for layer in range(topology.n_layers):
        if heads := topology.heads(layer):
            yield tuple(heads)
        yield from ((node,) for node in topology.mixers(layer))
        if of_mlp := topology.mlp_nodes(layer):
            yield tuple(of_mlp)


def clean_corrupted(
    problem: ScoringProblem,
    method: CleanCorruptedMethod,
) -> EdgeScores:
    """EAP with the mean of two gradients: at the clean run, and where `input` is ablated.

        score(u → v) = (ablated_u - clean_u) · 1/2 (∂M/∂input_v at clean + ∂M/∂input_v at ablated)

    This is the trapezoidal rule with one interval. Under corrupted ablation the second run is that
    on the corrupted prompts, as in the code of EAP-IG (Hanna et al. 2024, arXiv 2403.17806). KL
    divergence may be the metric; its gradient at the clean run is 0. Higher means more needed, in
    units of the metric.
    """
    attribution = EdgeAttribution(problem, points=2)
    bench = problem.bench
    attribution.add(streams_from_outputs(bench.weights, bench.clean))
    attribution.add(run_streams(bench.weights, bench.ablated[0]))
    return attribution.scores()
