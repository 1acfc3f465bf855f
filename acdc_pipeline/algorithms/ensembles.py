"""Ensembles: the scores of several methods, combined edge by edge."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.gates import expected_gates
from acdc_pipeline.algorithms.scoring import EdgeScores, MeanProblem, scale_progress
from acdc_pipeline.algorithms.warm_start import mean_scores, prune_from
from acdc_pipeline.graph import Topology
from acdc_pipeline.specs.methods.ensembles import EnsembleMethod, HybridEnsembleMethod
from acdc_pipeline.specs.names import Combination


def ensemble(problem: MeanProblem, method: EnsembleMethod) -> EdgeScores:
    """The mean, maximum or minimum of the scores of EAP, EAP-IG-inputs and EAP-IG-activations.

        score(e) = combine over methods i of  s_i(e) / max over edges |s_i|

    The parallel ensemble of Mondorf et al. 2025 (arXiv 2510.06811). Maximum and minimum are those
    of signed numbers, as in the authors' code, which combines scores as they are, or divided by the
    sum over each receiver; here each method's largest magnitude is 1, so that all count alike
    whatever their scale. Between -1 and 1; above 0 means needed. Costs what the methods cost.
    """
    return _combine(problem.topology, _attributions(problem, method, end=1.0), method.combine)


def hybrid_ensemble(problem: MeanProblem, method: HybridEnsembleMethod) -> EdgeScores:
    """`ensemble` with a fourth method: `eap-ig-edge-pruning`.

        s_4(e) = sign(s_2(e)) · z(e)

    with z the trained gate, 0 to 1 (Louizos et al. 2018, arXiv 1712.01312, equation 13), and s_2
    the score of EAP-IG-inputs, which the gates start from: trained gates have no sign, and
    attribution gives them its own in the authors' code. The hybrid ensemble of Mondorf et al. 2025
    (arXiv 2510.06811).
    """
    at_pruning = 0.5
    scores = _attributions(problem, method, end=at_pruning)
    by_inputs = scores[1]
    rest = scale_progress(problem, at_pruning, 1.0)
    log_alpha = prune_from(rest, method.pruning, by_inputs)
    problem.advance(1.0)
    gates = expected_gates(torch.tensor(list(log_alpha.values()), dtype=torch.float64))
    pruned = by_inputs.sign() * gates.to(by_inputs)
    return _combine(problem.topology, [*scores, pruned], method.combine)


def _attributions(
    problem: MeanProblem, method: EnsembleMethod | HybridEnsembleMethod, end: float
) -> list[Float[Tensor, " edge"]]:
    """The scores of each method of attribution, which take the work until `end`."""
    each = end / len(method.parts)
    return [
        mean_scores(problem, part, i * each, (i + 1) * each) for i, part in enumerate(method.parts)
    ]


def _combine(
    topology: Topology, parts: Sequence[Float[Tensor, " edge"]], how: Combination
) -> EdgeScores:
    largest = [part.abs().max() for part in parts]
    scaled = torch.stack(
        [part if top == 0 else part / top for part, top in zip(parts, largest, strict=True)]
    )
    found = {"mean": scaled.mean(0), "max": scaled.amax(0), "min": scaled.amin(0)}[how]
    return dict(zip(topology.edges, found.tolist(), strict=True))
