"""Relevance patching: EAP with relevance in place of gradients."""

from __future__ import annotations

from acdc_pipeline.algorithms.edge_attribution import EdgeAttribution
from acdc_pipeline.algorithms.scoring import EdgeScores, ScoringProblem
from acdc_pipeline.engine.forward import streams_from_outputs
from acdc_pipeline.engine.gradients.relevance import RELEVANCE
from acdc_pipeline.specs.methods.scored import RelpMethod


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
