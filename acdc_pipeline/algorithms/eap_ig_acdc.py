"""ACDC on the edges that integrated gradients leave: scores screen, ACDC decides.

The scores are those of `eap-ig-inputs` (Hanna et al. 2024, arXiv 2403.17806), the decisions those
of ACDC (Conmy et al. 2023, arXiv 2304.14997, Algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from acdc_pipeline.algorithms.acdc import AcdcResult, acdc
from acdc_pipeline.algorithms.eap_ig_inputs import eap_ig_inputs
from acdc_pipeline.algorithms.question import Question
from acdc_pipeline.algorithms.screened import DroppingSearch, Screened
from acdc_pipeline.graph import Circuit, Decision, Edge
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.specs.method import EapIgAcdcMethod
from acdc_pipeline.specs.scored_method import EapIgInputsMethod


@dataclass(frozen=True)
class ScreenedResult:
    """What ACDC kept of the screen, and what went untested."""

    acdc: AcdcResult
    dropped: frozenset[Edge]
    last_value: float
    """The metric that the search ended with, oriented so that higher is worse."""


def screen(question: Question, method: EapIgAcdcMethod) -> Circuit:
    """The edges that ACDC will test: the best of `eap-ig-inputs` by magnitude, on paths."""
    scoring = EapIgInputsMethod(
        name="eap-ig-inputs",
        metric=method.metric,
        ablation=method.ablation,
        share=method.screen,
        edges=None,
        rank="magnitude",
        steps=method.steps,
        rounds=1,
    )
    topology = question.bench.weights.topology
    size = scoring.size(topology.n_edges)
    return cut(topology, eap_ig_inputs(question, scoring), edges=size, rank=scoring.rank)


def eap_ig_acdc(
    search: DroppingSearch,
    screened: Circuit,
    method: EapIgAcdcMethod,
    on_decision: Callable[[Decision], None] | None = None,
) -> ScreenedResult:
    """ACDC's loop with the edges of `screened` as its only candidates.

    All other edges into a receiver are removed together when ACDC comes to it, untested. An edge
    is thus tested in the circuit of what was decided and left out behind it, with everything
    before it still whole: as in ACDC itself, which this is where the screen leaves out nothing.
    Only tested edges have a score, the change that removing them would have made.

    Args:
        search: starts as the whole model.
        screened: what to test.
        method: thresholds and order.
        on_decision: called after each decision, in order.
    """
    topology = screened.topology
    inner = Screened(search, topology)
    result = acdc(
        inner,
        topology,
        threshold=method.threshold,
        order=method.order,
        difference=method.difference,
        candidates=screened.edges,
        on_decision=on_decision,
    )
    return ScreenedResult(result, frozenset(inner.dropped), inner.metric())
