"""EAP: edge attribution patching (Syed et al. 2023, arXiv 2310.10348)."""

from __future__ import annotations

from acdc_pipeline.algorithms.edge_attribution import EdgeAttribution
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.engine.forward import streams_from_outputs
from acdc_pipeline.specs.scored_method import EapMethod


def eap(question: Question, method: EapMethod) -> EdgeScores:  # noqa: ARG001  (every scorer has it)
    """The first-order estimate of what removing each edge from the whole model costs.

        score(u → v) = (ablated_u - clean_u) · ∂M/∂input_v, at the clean run

    summed over prompts and positions: two forwards and one backward in all. At the clean run the
    KL to the model itself is at its minimum and its gradient is 0, so it takes a metric of the
    task, as the paper does. Higher means more needed, in units of the metric.
    """
    attribution = EdgeAttribution(question, points=1)
    bench = question.bench
    attribution.add(streams_from_outputs(bench.weights, bench.clean))
    return attribution.scores()
