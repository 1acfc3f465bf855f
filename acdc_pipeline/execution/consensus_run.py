"""The searches of a consensus on the prompts of one run, and the work that they share.

Search 0 is the plain one: all prompts, in the order of the method. Every other search draws an
order and a bootstrap resample of the prompts (Efron 1979). All share the model, its activations on
the clean and the corrupted prompts, and what earlier searches decided on the same edge, which
predicts the states that are evaluated together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from acdc_pipeline.algorithms import AcdcResult, acdc
from acdc_pipeline.algorithms.consensus import agree
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.resample import can_take_rows, take_rows, weigh_repeats
from acdc_pipeline.engine.search.mask_search import Mask, MaskSearch
from acdc_pipeline.engine.search.speculation import RepeatedPredictor
from acdc_pipeline.evaluation import mean_pairwise_jaccard, metric_of, objective_for
from acdc_pipeline.evaluation.faithfulness import measure_values
from acdc_pipeline.graph import Circuit, Decision, Edge
from acdc_pipeline.graph.consensus import Consensus, majority
from acdc_pipeline.graph.search_order import RandomOrder, SearchOrder
from acdc_pipeline.prompts.prompt_set import pick_prompts
from acdc_pipeline.specs import AcdcMethod

STAND_INS = 10
"""One search for a stand-in for so many searches of the consensus, and at least one."""


@dataclass(frozen=True)
class FoundConsensus:
    """The circuit that the searches agree on.

    Args:
        circuit: scored by the share of the searches that kept each edge.
        details: counts of the work, as JSON data.
    """

    circuit: Circuit
    consensus: Consensus
    details: dict[str, Any]


class ConsensusSearches:
    """The searches of a consensus, by number.

    Args:
        seed: of orders and resamples.
        memory: byte budget of a search.
        on_decision: called after each decision of any search.

    Attributes:
        predictor: shared by the searches; decides what is evaluated together, never an edge.
    """

    def __init__(
        self,
        bench: Bench,
        method: AcdcMethod,
        seed: int,
        memory: int,
        on_decision: Callable[[Decision], None] | None = None,
    ) -> None:
        self.bench, self.method, self.seed, self.memory = bench, method, seed, memory
        self.on_decision = on_decision
        self.predictor = RepeatedPredictor()
        self.states_evaluated = 0

    def order(self, number: int) -> SearchOrder:
        """The order of search `number`."""
        return RandomOrder(f"consensus {self.seed} {number}") if number else self.method.order

    def bench_of(self, number: int) -> Bench:
        """The prompts of search `number`, as many as all of them, drawn with replacement."""
        if number == 0:
            return self.bench
        rng = random.Random(f"consensus {self.seed} {number}")
        n = self.bench.prompts.n_prompts
        drawn = rng.choices(range(n), k=n)
        if self.method.ablation == "mean":  # averages over prompts, and needs every copy
            return self._set_up(drawn)
        reuse = can_take_rows(self.bench)
        return weigh_repeats(drawn, lambda some: self._take(some) if reuse else self._set_up(some))

    def run(self, number: int) -> AcdcResult:
        """Return the result of search `number`."""
        bench = self.bench_of(number)
        search = bench.search(objective_for(bench, self.method.metric), memory=self.memory)
        search.speculation.predictor = self.predictor
        found = self._acdc(search, self.order(number))
        self.states_evaluated += search.states_evaluated
        return found

    def run_without(self, edge: Edge) -> frozenset[Edge]:
        """Return the circuit that a search finds in the model without `edge`, on all prompts."""
        topology = self.bench.weights.topology
        objective = objective_for(self.bench, self.method.metric)
        search = self.bench.search_without([edge], objective, memory=self.memory)
        if search is None:
            search = MaskSearch(topology, self.measure, [edge])
        search.speculation.predictor = self.predictor
        found = self._acdc(search, self.method.order, topology.edge_set - {edge})
        self.states_evaluated += search.states_evaluated
        return found.circuit.edges

    def measure(self, masks: Sequence[Mask]) -> list[float]:
        """The metric of circuits on all prompts, oriented so that higher is worse."""
        sign = metric_of(self.bench, self.method.metric).sign
        return [sign * value for value in measure_values(self.bench, self.method.metric, masks)]

    def _acdc(
        self, search: Any, order: SearchOrder, candidates: frozenset[Edge] | None = None
    ) -> AcdcResult:
        with torch.no_grad():
            return acdc(
                search,
                self.bench.weights.topology,
                threshold=self.method.threshold,
                order=order,
                difference=self.method.difference,
                candidates=candidates,
                on_decision=self.on_decision,
            )

    def _take(self, numbers: Sequence[int]) -> Bench:
        return take_rows(self.bench, numbers)

    def _set_up(self, numbers: Sequence[int]) -> Bench:
        prompts = pick_prompts(self.bench.prompts, numbers)
        own = self.bench.own_metric
        return set_up(self.bench.weights, prompts, self.method.ablation, own)


def find_consensus(searches: ConsensusSearches) -> FoundConsensus:
    """Run all searches, and return what they agree on."""
    method, topology = searches.method, searches.bench.weights.topology
    results = [searches.run(number) for number in range(method.consensus)]
    tested = sum(len(result.decisions) for result in results)
    states = searches.states_evaluated
    found = agree(
        topology,
        [result.circuit.edges for result in results],
        line=method.consensus_line,
        threshold=method.threshold,
        measure=searches.measure,
        search_without=searches.run_without,
        most_stand_ins=max(1, method.consensus // STAND_INS),
    )
    agreed = found.consensus
    scores = {edge: agreed.share(edge) for edge in topology.edges}
    details = {
        "edges_tested": tested,
        "smallest_margin": min(result.smallest_margin for result in results),
        "consensus": {
            "searches": method.consensus,
            "line": method.consensus_line,
            "sizes": [len(result.circuit) for result in results],
            "jaccard": mean_pairwise_jaccard([result.circuit for result in results]),
            **{role: len(agreed.having(role)) for role in ("necessary", "alternative")},
            **{role: len(agreed.having(role)) for role in ("uncertain", "accidental")},
            "or_groups": [str(group) for group in agreed.groups],
            "states_evaluated": states,
            "stand_in_searches": [str(edge) for edge in found.stand_ins],
            "stand_in_states_evaluated": searches.states_evaluated - states,
            "stand_ins_not_looked_for": found.unchecked,
            "circuits_measured": found.measured,
        },
    }
    circuit = Circuit.of(topology, majority(agreed), scores)
    return FoundConsensus(circuit, agreed, details)
