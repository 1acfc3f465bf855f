"""Conductance of edges: gradients times how sources change, along the path of the input."""

from __future__ import annotations

from acdc_pipeline.algorithms.edge_attribution import EdgeAttribution
from acdc_pipeline.algorithms.scoring import EdgeScores, ScoringProblem
from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.forward import (
    SourceOutputs,
    run_sources_from,
    run_streams,
    streams_from_outputs,
)
from acdc_pipeline.specs.methods.estimates import ConductanceMethod

# The outputs of sources at three points are held where other methods hold one difference.
_OUTPUTS_HELD = 4


def conductance(problem: ScoringProblem, method: ConductanceMethod) -> EdgeScores:
    """What flows through an edge while `input` moves from its clean to its ablated output.

        score(u → v) = ∫ ∂M/∂input_v · du,  along x(t) = z' + t (z - z')  from t = 1 to 0

    with z the clean output of `input`, z' its ablated one, and u what the source writes when
    `input` writes x(t) and every other node computes. This is the conductance of Dhamdhere et al.
    2018 (arXiv 1805.12233, section 2), defined for hidden units, on edges. Wu et al. 2026 (arXiv
    2606.16920) score edges by conductance (CEAP). EAP-IG multiplies the same gradients by
    ablated_u - clean_u instead, and not by the change that belongs to them.

    Over any set of edges that every path from `input` to `logits` crosses once, the scores sum to
    M where `input` is ablated less M at the clean run, by the chain rule. The integral is taken by
    the trapezoidal rule:

        1/2 Σ_k (u(k-1) - u(k)) · (∂M/∂input_v at k-1 + ∂M/∂input_v at k),  k = 1…m

    at t = k/m, whose error falls with m². It takes m + 1 backward passes and twice as many forward
    passes: outputs of all sources are held for some prompts at a time. What `ablated` is for other
    sources does not matter. KL divergence may be the metric. Higher means more needed, in units
    of the metric.
    """
    bench, m = problem.bench, method.steps
    attribution = EdgeAttribution(problem, points=m + 1, outputs_held=_OUTPUTS_HELD)
    clean, ablated = bench.clean.outputs[0], bench.ablated[0]

    def embedded(k: int, chosen: slice) -> Stream:
        return ablated[chosen] + k / m * (clean[chosen] - ablated[chosen])

    def outputs(k: int, chosen: slice) -> SourceOutputs:
        return run_sources_from(bench.weights, embedded(k, chosen))

    at_final = [
        attribution.at_final(run_streams(bench.weights, embedded(k, slice(None))).final)
        for k in range(m + 1)
    ]
    for chosen in attribution.groups:
        before = here = outputs(0, chosen)
        for k in range(m + 1):
            after = outputs(k + 1, chosen) if k < m else here
            # Points count equally: each for 1 / (m + 1).
            step = (m + 1) / 2 * (before.outputs - after.outputs)
            streams = streams_from_outputs(bench.weights, here)
            attribution.add_prompts(chosen, streams, at_final[k][chosen], step)
            before, here = here, after
    return attribution.scores()
