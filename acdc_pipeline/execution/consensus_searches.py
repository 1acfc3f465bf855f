"""The searches of a consensus on the prompts of one run, and the work that they share.

Search 0 is the plain one: all prompts, in the order of the method. Every other search draws an
order and a bootstrap resample of the prompts (Efron 1979). All share the model, its activations on
the clean and the corrupted prompts, and what earlier searches decided on the same edge, which
predicts the states that are evaluated together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.algorithms.consensus import Mask
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.resample import can_take_rows, take_rows, weigh_repeats
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.engine.search.speculation import RepeatedPredictor
from acdc_pipeline.evaluation import metric_of, objective_for
from acdc_pipeline.evaluation.faithfulness import measure_values
from acdc_pipeline.graph import Decision, Edge, Node, Receiver
from acdc_pipeline.graph.search_order import RandomOrder, SearchOrder
from acdc_pipeline.prompts.prompt_set import pick_prompts
from acdc_pipeline.specs import AcdcMethod

Log = tuple[Decision, ...]
"""The decisions of one search, in order."""


class ConsensusSearches:
    """The searches of a consensus, by number.

    How the states of a search are batched depends on search 0 and on those before it in its group
    alone, so that a group has the same bits in any process.

    Args:
        seed: of orders and resamples.
        memory: byte budget of a search.
        on_decision: called after each decision of any search.

    Attributes:
        states_evaluated: by these searches in this process.
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
        self.states_evaluated = 0
        self._predictor = RepeatedPredictor()

    def order(self, number: int) -> SearchOrder:
        """The order of search `number`."""
        return RandomOrder(f"consensus {self.seed} {number}") if number else self.method.order

    def drawn(self, number: int) -> list[int]:
        """The prompts of search `number`, as many as all of them, drawn with replacement."""
        n = self.bench.prompts.n_prompts
        if number == 0:
            return list(range(n))
        return random.Random(f"consensus {self.seed} {number}").choices(range(n), k=n)

    def bench_of(self, number: int) -> Bench:
        """The prompts of search `number`."""
        if number == 0:
            return self.bench
        drawn = self.drawn(number)
        if self.method.ablation == "mean":  # averages over prompts, and needs every copy
            return self._set_up(drawn)
        return weigh_repeats(drawn, self._take if can_take_rows(self.bench) else self._set_up)

    def learn(self, logs: Sequence[Log]) -> None:
        """Let the decisions of some searches, and of no others, predict those of later ones."""
        self._predictor = RepeatedPredictor()
        for log in logs:
            self._learn(log)

    def _learn(self, log: Log) -> None:
        by_receiver: dict[Receiver, list[Decision]] = {}
        for decision in log:
            by_receiver.setdefault(decision.edge.receiver, []).append(decision)
        for receiver, some in by_receiver.items():
            kept: frozenset[Node] = frozenset(d.edge.src for d in some if not d.removed)
            self._predictor.learn(receiver, [decision.edge.src for decision in some], kept)

    def run(self, number: int) -> Log:
        """Return the decisions of search `number`, which predict those of later ones."""
        bench = self.bench_of(number)
        search = bench.search(objective_for(bench, self.method.metric), memory=self.memory)
        return self._acdc(search, self.order(number))

    def run_group(self, numbers: Sequence[int], first: Log) -> list[Log]:
        """Return the decisions of some searches, the first predicted by those of search 0."""
        self.learn([first])
        return [self.run(number) for number in numbers]

    def run_without(self, edge: Edge) -> frozenset[Edge]:
        """Return the circuit that a search finds in the model without `edge`, on all prompts."""
        topology = self.bench.weights.topology
        objective = objective_for(self.bench, self.method.metric)
        search = self.bench.search_without([edge], objective, memory=self.memory)
        return kept_in(self._acdc(search, self.method.order, topology.edge_set - {edge}))

    def measure(self, masks: Sequence[Mask]) -> list[float]:
        """The metric of circuits on all prompts, oriented so that higher is worse."""
        sign = metric_of(self.bench, self.method.metric).sign
        return [sign * value for value in measure_values(self.bench, self.method.metric, masks)]

    def _acdc(
        self, search: Search[Any], order: SearchOrder, candidates: frozenset[Edge] | None = None
    ) -> Log:
        search.speculation.predictor = self._predictor
        with torch.no_grad():
            found = acdc(
                search,
                self.bench.weights.topology,
                threshold=self.method.threshold,
                order=order,
                difference=self.method.difference,
                candidates=candidates,
                on_decision=self.on_decision,
            )
        self.states_evaluated += search.states_evaluated
        return found.decisions

    def _take(self, numbers: Sequence[int]) -> Bench:
        return take_rows(self.bench, numbers)

    def _set_up(self, numbers: Sequence[int]) -> Bench:
        prompts = pick_prompts(self.bench.prompts, numbers)
        own = self.bench.own_metric
        return set_up(self.bench.weights, prompts, self.method.ablation, own)


def kept_in(log: Log) -> frozenset[Edge]:
    """The circuit of a search."""
    return frozenset(decision.edge for decision in log if not decision.removed)
