"""EAP-IG over inputs: gradients between the two prompts (Hanna et al. 2024, arXiv 2403.17806)."""

from __future__ import annotations

from acdc_pipeline.algorithms.edge_attribution import EdgeAttribution
from acdc_pipeline.algorithms.narrowing import narrowing
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.engine.forward import run_streams
from acdc_pipeline.specs.scored_method import EapIgInputsMethod


def eap_ig_inputs(question: Question, method: EapIgInputsMethod) -> EdgeScores:
    """EAP with the mean of gradients along the way from the ablated to the clean embedding.

        score(u → v) = (ablated_u - clean_u) · 1/m Σ_k ∂M/∂input_v at z' + k/m (z - z'), k = 1…m

    with z the clean output of `input` and z' its ablated one (in the paper, that of the corrupted
    prompt). Every run in between is a whole forward of its own. As m grows, the
    scores of the edges out of `input` sum to the metric's change from one end to the other. The
    KL may be the metric: only the last point, the clean run itself, contributes nothing to it.
    Higher means more needed, in units of the metric. With several rounds, see `narrowing`.
    """
    if method.rounds > 1:
        return narrowing(question, method)
    attribution = EdgeAttribution(question, points=method.steps)
    bench = question.bench
    clean, ablated = bench.clean.outputs[0], bench.ablated[0]
    for k in range(1, method.steps + 1):
        embedded = ablated + k / method.steps * (clean - ablated)
        attribution.add(run_streams(bench.weights, embedded))
    return attribution.scores()
