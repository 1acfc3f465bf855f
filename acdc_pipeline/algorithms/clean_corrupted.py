"""EAP with gradients at both ends, clean and corrupted (Hanna et al. 2024, arXiv 2403.17806)."""

from __future__ import annotations

from acdc_pipeline.algorithms.edge_attribution import EdgeAttribution
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.engine.forward import run_streams, streams_from_outputs
from acdc_pipeline.specs.scored_method import CleanCorruptedMethod


def clean_corrupted(
    question: Question,
    method: CleanCorruptedMethod,  # noqa: ARG001  (every scorer has it)
) -> EdgeScores:
    """EAP with the mean of two gradients: at the clean run, and where `input` is ablated.

        score(u → v) = (ablated_u - clean_u) · 1/2 (∂M/∂input_v at clean + ∂M/∂input_v at ablated)

    The trapezoidal rule with one interval, where `eap-ig-inputs` has more. Under corrupted
    ablation the other end is the run on the corrupted prompts, as in the code of EAP-IG. The KL may
    be the metric; its gradient at the clean end is 0. Higher means more needed, in units of the
    metric.
    """
    attribution = EdgeAttribution(question, points=2)
    bench = question.bench
    attribution.add(streams_from_outputs(bench.weights, bench.clean))
    attribution.add(run_streams(bench.weights, bench.ablated[0]))
    return attribution.scores()
