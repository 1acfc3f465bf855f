"""ACDC on the edges that score best by integrated gradients.

The scores are those of `eap-ig-inputs` (Hanna et al. 2024, arXiv 2403.17806), the decisions those
of ACDC (Conmy et al. 2023, arXiv 2304.14997, Algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from acdc_pipeline.algorithms.acdc import AcdcResult, EdgeSearch, acdc
from acdc_pipeline.algorithms.scoring import EdgeScores
from acdc_pipeline.graph import Circuit, Decision, Edge, Node, Receiver, Topology
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.specs.methods.scored import EapIgInputsMethod
from acdc_pipeline.specs.methods.search import EapIgAcdcMethod


@runtime_checkable
class DroppingSearch(EdgeSearch, Protocol):
    """A search that can remove edges without a test."""

    def drop(self, sources: Sequence[Node]) -> None:
        """Remove the edges of `sources` into the visited receiver for good, together."""
        ...


@dataclass(frozen=True)
class ScreenedResult:
    """The result of ACDC on the candidates, and the edges that were removed untested."""

    acdc: AcdcResult
    dropped: frozenset[Edge]
    last_value: float
    """The metric at the end of the search, oriented so that higher is worse."""


def screen(
    topology: Topology,
    scores: Callable[[EapIgInputsMethod], EdgeScores],
    method: EapIgAcdcMethod,
) -> Circuit:
    """The candidates of ACDC: the best edges by `eap-ig-inputs` scores, on complete paths.

    Args:
        scores: computes those scores.
    """
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
    size = scoring.size(topology.n_edges)
    return cut(topology, scores(scoring), edges=size, rank=scoring.rank)


def eap_ig_acdc(
    search: DroppingSearch,
    screened: Circuit,
    method: EapIgAcdcMethod,
    on_decision: Callable[[Decision], None] | None = None,
) -> ScreenedResult:
    """ACDC's loop with the edges of `screened` as its only candidates.

    When ACDC visits a receiver, all other edges into it are first removed together, untested. An
    edge is thus tested in a circuit in which everything nearer to the output has been decided or
    removed and everything nearer to the input is still whole. If `screened` is the whole graph,
    this is ACDC. Only tested edges have a score: the change that removing them would have made.

    Args:
        search: starts as the whole model.
        screened: the candidates.
        method: threshold, order and difference.
        on_decision: called after each decision, in order.
    """
    topology = screened.topology
    screened_search = _ScreenedSearch(search, topology)
    result = acdc(
        screened_search,
        topology,
        threshold=method.threshold,
        order=method.order,
        difference=method.difference,
        candidates=screened.edges,
        on_decision=on_decision,
    )
    return ScreenedResult(result, frozenset(screened_search.dropped), search.metric())


class _ScreenedSearch:
    """A search in which a visited receiver first loses the edges that are not candidates."""

    def __init__(self, search: DroppingSearch, topology: Topology) -> None:
        self.search = search
        self.topology = topology
        self.dropped: set[Edge] = set()
        self.metric = search.metric
        self.metric_without = search.metric_without
        self.remove = search.remove

    def visit(self, receiver: Receiver, sources: list[Node]) -> bool:
        """Visit `receiver`, of which the edges from `sources` are the candidates."""
        resumable = self.search.visit(receiver, sources)
        candidates = set(sources)
        others = [s for s in self.topology.sources_of(receiver) if s not in candidates]
        self.search.drop(others)
        self.dropped |= {Edge.into(source, receiver) for source in others}
        return resumable
