"""Peeling: edges of a circuit are removed one by one, each by its exact effect on the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from acdc_pipeline.algorithms.acdc import acdc
from acdc_pipeline.algorithms.nested.circuit_tests import CircuitTests
from acdc_pipeline.algorithms.nested.forwards import Mask, Values
from acdc_pipeline.engine.search.model_search import ChangeSearch
from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.graph import Decision

_AT_ONCE = 8
"""States that are evaluated at once: as many may be spent before a limit is noticed."""


@dataclass(frozen=True)
class Peeled:
    """A circuit that was peeled.

    Args:
        mask: the edges that were kept, or not reached before the forwards were spent.
        effects: the loss that removing each edge added when it was tested; NaN for edges that were
            not.
        complete: whether all were reached.
    """

    mask: Mask
    effects: Values
    complete: bool


class _Spent(Exception):
    """All forwards are spent."""


def peel(tests: CircuitTests, mask: Mask, threshold: float, limit: float) -> Peeled | None:
    """Remove the edges of a circuit whose removal adds less than `threshold` to the loss.

    The search of ACDC (Conmy et al. 2023, arXiv 2304.14997, Algorithm 1) in a circuit in place of
    the whole model, by the loss of `CircuitTests` in place of the metric. What it takes is added to
    `tests.spent`: for each state that the search evaluates, the products with weights of the
    sources that follow the edge and are still read. Attention and sums over edges are not counted.

    Args:
        mask: the circuit.
        threshold: in units of the loss.
        limit: forwards after which the search ends; edges that were not tested stay.

    Returns:
        None if the search does not fit the memory, or does not count its work (coupled heads).
    """
    topology, bench = tests.topology, tests.bench
    removed = topology.edges_in(~mask)
    try:
        search = bench.search_without(removed, tests.loss_of, memory=tests.problem.memory)
    except OutOfMemoryBudget:
        return None
    if not isinstance(search, ChangeSearch):
        return None
    search.max_states = _AT_ONCE
    count = _Count(tests, search, mask, tests.spent + limit)
    out, effects = mask.copy(), np.full(len(mask), np.nan)

    def decide(decision: Decision) -> None:
        at = topology.edge_index(decision.edge)
        effects[at], out[at] = decision.effect, not decision.removed
        count.add()

    try:
        found = acdc(
            search,
            topology,
            threshold=threshold,
            order="natural",
            difference="signed",
            candidates=set(topology.edges_in(mask)),
            on_decision=decide,
        )
    except _Spent:
        return Peeled(out, effects, complete=False)
    return Peeled(topology.edge_mask(found.circuit.edges), effects, complete=True)


class _Count:
    """Counts what a search takes, in forwards.

    Args:
        mask: the circuit that it starts from.
        most: what `tests.spent` may be in the end.
    """

    def __init__(
        self, tests: CircuitTests, search: ChangeSearch[Any], mask: Mask, most: float
    ) -> None:
        self.tests, self.search, self.most = tests, search, most
        self.done = self.states = 0
        self.dearest = 0.0
        self.of_pass = tests.forwards.circuits([mask])
        tests.spent += self.of_pass

    def add(self) -> None:
        """Add what a decision took.

        Raises:
            _Spent: as much again would exceed what may be spent.
        """
        products = self.search.multiply_adds - self.done
        states = self.search.states_evaluated - self.states
        self.done, self.states = self.done + products, self.states + states
        took = products / self.tests.forwards.multiply_adds
        took += states * self.of_pass / self.search.recompute_after
        self.tests.spent += took
        self.dearest = max(self.dearest, took)
        if self.tests.spent + self.dearest > self.most:
            raise _Spent
