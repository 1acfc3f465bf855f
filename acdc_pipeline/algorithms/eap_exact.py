"""Circuits of falling size, proposed by gradients and decided by exact tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from acdc_pipeline.algorithms.circuit_tests import (
    GRADIENT_COST,
    CircuitTests,
    Mask,
    Tested,
    cost_by_group,
)
from acdc_pipeline.algorithms.scoring import (
    DetailedScores,
    EdgeScores,
    ScoringProblem,
    scale_progress,
)
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.graph.cut import cut_masks
from acdc_pipeline.specs.methods.eap_exact import EapExactMethod

Values = Float[np.ndarray, " edge"]

SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Sizes of the circuits, as shares of the graph's edges: those of the MIB benchmark."""

FIRST_POINTS = (0.25, 0.75)
"""Points of `eap-ig-activations` at which the first proposal takes gradients."""

POINTS, POINTS_OF_WHOLE = 2, 3
"""Points at which gates are integrated: of a circuit, and of the whole model where that is done."""

POOR = 0.5
"""The loss of the first circuit, over that of no edges, from which on the gates of the whole model
are integrated."""

EXCHANGES = (1 / 16, 1 / 6)
"""Shares of a circuit's edges that are exchanged at once."""

MOST_EXCHANGES = 5
"""Exchanges that are tested in a round."""

SINGLE_TESTS = 6.0
"""Forwards up to which every edge is tested alone, in place of gradients."""

LEAST_BY_GRADIENT = 0.03
"""The share of the edges of the smallest circuit in which gradients are taken."""

ROUND, RESERVE = 14.0, 6.0
"""Forwards that a round with gradients takes, and that are left for the rounds without."""

_MOST = 0.99
"""The most that is reported as done before the end."""


def eap_exact(problem: ScoringProblem, method: EapExactMethod) -> EdgeScores:
    """Rounds that each find a circuit within that of the round before, for falling sizes.

    A round has the circuit P of the round before, at first the whole model, and finds a circuit C
    of the next size within it:

    1. Attribution proposes: circuits cut (`graph.cut`) by what edges are worth in P, by its
       magnitude, with its sign, and summed over all rounds, and by the magnitude of the first
       scores, those of `eap-ig-activations` at two points. The worth in the whole model is the
       first scores; if the first circuit cut from them is more than half as bad as no edges, and
       in smaller circuits, it is minus the gradient by gates, the mean over points on the line
       from closed gates to those of P: integrated gradients (Sundararajan et al. 2017, arXiv
       1703.01365) over gates.
    2. Exact tests decide: the circuit with the least loss is C.
    3. Exact tests re-rank: the weakest edges of C, by their worth in C, are exchanged for those of
       P outside it whose gates have the largest gradient at C. Several such exchanges are tested,
       and the best is C if it lowers the loss. Where every edge of P can be tested alone for few
       forwards, the exact effects of closing, or opening, each take the place of gradients.

    The loss is |mean d| + s / √n of the differences d from the model over n answers (see
    `CircuitTests`): a circuit whose metric is above the model's is as wrong as one below. To close
    edges in rounds is the progressive skeletonization of de Jorge et al. 2021 (arXiv 2006.09081).
    Rounds with gradients are taken at the sizes at which the loss, weighted by the range of sizes
    around it, is largest, as far as the budget allows; the others have steps 1 and 2 alone.

    A score is the number of rounds that the edge was in the circuit, plus a rank between 0 and 1
    by its worth in the last of them. So circuits of all sizes cut from it are nested, and those of
    the rounds are among them. The details of the scores say what was spent, in forwards, the
    sizes, and the exact effects of removing single edges, where they were measured.

    Raises:
        InvalidInput: the budget does not pay for the first proposal.
    """
    least = len(FIRST_POINTS) * cost_by_group(problem.topology)
    budget = method.forwards(problem.topology)
    if budget < least:
        raise InvalidInput(
            f"{budget:g} forwards do not pay for a proposal",
            field="budget",
            allowed=f"at least {least:g}",
            fix="give more, or leave it out",
        )
    rounds = _Rounds(problem, budget, proposal=least)
    scores = rounds.run()
    details = {
        "forwards": rounds.tests.spent,
        "budget": rounds.budget,
        "rounds": rounds.found,
    }
    by_edge = dict(zip(problem.topology.edges, scores.tolist(), strict=True))
    return DetailedScores(by_edge, details)


class _Rounds:
    """The circuits so far, and what is known of their edges.

    Attributes:
        parent: the last circuit.
        first: the scores of the first proposal.
        worth: what edges are worth in `parent`, 0 outside.
        history: their share of all worth, summed over the rounds.
        found: what is reported of each round.
        alone: the last circuit in which every edge was tested alone, and these tests.
    """

    def __init__(self, problem: ScoringProblem, budget: float, *, proposal: float) -> None:
        """`proposal` is what the first proposal costs, in forwards like the budget."""
        self.problem, self.topology, self.budget = problem, problem.topology, budget
        self.tests = CircuitTests(scale_progress(problem, 0.0, min(_MOST, proposal / budget)))
        n_edges = self.topology.n_edges
        self.sizes = sorted({int(share * n_edges + 1e-9) for share in SHARES} - {0}, reverse=True)
        self.parent: Mask = np.ones(n_edges, dtype=bool)
        self.first: Values = self.tests.by_group(FIRST_POINTS)
        self.worth = self.first
        self.history = _share(self.first)
        self.found: list[dict[str, Any]] = []
        self.alone: tuple[Tested | None, list[tuple[int, Tested]]] = None, []

    def run(self) -> Values:
        """The score of every edge, see `eap_exact`."""
        scores = np.zeros(self.topology.n_edges)
        by_gradient = self._sizes_by_gradient()
        for number, size in enumerate(self.sizes):
            parent = self.parent
            order = self._round(size, by_gradient=size in by_gradient)
            scores[parent] = number + _ranks(order[parent])
            if not self.parent.any():
                break
            self.problem.advance(min(_MOST, self.tests.spent / self.budget))
        scores[self.parent] = len(self.sizes) + _ranks(self.worth[self.parent])
        self.problem.advance(1.0)
        return scores

    def _round(self, size: int, *, by_gradient: bool) -> Values:
        """Find the circuit of a size within the last one; return the ranking it was cut by."""
        within = self.parent
        rankings = self._rankings(within)
        made = [self._cut(ranking, size) for ranking in rankings]
        tested = self._test(made)
        self.history = self.history + _share(self.worth)
        if not tested:
            self.parent, self.worth = made[0], np.where(made[0], self.worth, 0.0)
            return rankings[0]
        chosen = min(range(len(tested)), key=lambda i: tested[i].loss)
        if not tested[chosen].mask.any():  # no path is that short
            self.parent = tested[chosen].mask
            return rankings[chosen]
        best = self._by_single_tests(tested[chosen], size)
        if best is None and by_gradient:
            best = self._by_gradient(tested[chosen], size)
        best = best or tested[chosen]
        self._report(best)
        self.parent, self.worth = best.mask, np.where(within & best.mask, self.worth, 0.0)
        return rankings[chosen]

    def _sizes_by_gradient(self) -> set[int]:
        """The sizes at which gradients are worth most, as many as the budget pays for."""
        n_edges = self.topology.n_edges
        sizes = [size for size in self.sizes if size > LEAST_BY_GRADIENT * n_edges]
        tested = self._test([self._cut(np.abs(self.worth), size) for size in sizes])
        self._integrate_if_poor(tested)
        ends = [n_edges, *self.sizes, 0]
        gain = {
            size: (ends[at] - ends[at + 2]) * one.loss
            for at, (size, one) in enumerate(zip(sizes, tested, strict=False))
        }
        n = int((self.budget - self.tests.spent - RESERVE) / ROUND)
        return set(sorted(gain, key=lambda size: -gain[size])[: max(0, n)])

    def _integrate_if_poor(self, tested: Sequence[Tested]) -> None:
        """Integrate the gates of the whole model if the first proposal is a poor circuit.

        Changing one group of sources at a time finds nothing where each is replaced by another.
        """
        empty = self._test([np.zeros_like(self.parent)])
        if not tested or not empty or tested[0].loss < POOR * empty[0].loss:
            return
        if self._left() >= GRADIENT_COST * POINTS_OF_WHOLE:
            self.worth = self._integrated(self.parent, POINTS_OF_WHOLE)

    def _by_gradient(self, best: Tested, size: int) -> Tested:
        """Exchange edges by gradients, once."""
        if self._left() < GRADIENT_COST * (POINTS + 1):
            return best
        self.worth = self._integrated(best.mask, POINTS)
        entering = self.tests.gradient(best)
        made = self._exchanged(best.mask, self._rankings(best.mask), entering, size)
        return min([best, *self._test(made[:MOST_EXCHANGES])], key=lambda one: one.loss)

    def _by_single_tests(self, best: Tested, size: int) -> Tested | None:
        """Exchange edges by exact effects while that lowers the loss; None if it costs too much."""
        measured = False
        while True:
            edges = self.parent.nonzero()[0].tolist()
            allowed = min(SINGLE_TESTS, self._left())
            # every test computes an output at least
            if len(edges) > allowed * len(self.topology.sources):
                break
            flipped = [_flipped(best.mask, edge) for edge in edges]
            if self.tests.cost(flipped) > allowed:
                break
            tested, inside, measured = self.tests.test(flipped), best.mask[edges], True
            change = np.array([one.loss for one in tested]) - best.loss
            self.worth = np.zeros(len(best.mask))
            self.worth[edges] = np.where(inside, change, -change)
            self.alone = best, list(zip(edges, tested, strict=True))
            made = self._exchanged(best.mask, [self.worth], self.worth, size)
            new = min([best, *self._test(made)], key=lambda one: one.loss)
            if new is best:
                break
            best = new
        return best if measured else None

    def _report(self, best: Tested) -> None:
        """Report a circuit, and the exact effects of its edges if they were measured in it."""
        names, (of, flipped) = self.topology.edges, self.alone
        found: dict[str, Any] = {
            "edges": int(best.mask.sum()),
            "value": best.value,
            "loss": best.loss,
        }
        if of is best:
            found["effects"] = {
                str(names[edge]): one.value - best.value for edge, one in flipped if best.mask[edge]
            }
        self.found.append(found)

    def _rankings(self, within: Mask) -> list[Values]:
        inside = np.where(within, self.worth, 0.0)
        first = np.where(within, np.abs(self.first), 0.0)
        return [np.abs(inside), first, self.history + _share(inside), inside]

    def _exchanged(
        self, mask: Mask, leaving: Sequence[Values], entering: Values, size: int
    ) -> list[Mask]:
        """Circuits in which the last members by a ranking give way to the best other edges."""
        members, others = mask.nonzero()[0], (self.parent & ~mask).nonzero()[0]
        best_first = others[np.argsort(-entering[others], kind="stable")]
        out: list[Mask] = []
        for ranking in leaving:
            for count in sorted({max(1, int(share * size)) for share in EXCHANGES}):
                order = np.zeros(len(mask))
                order[best_first] = np.linspace(1, 0, len(best_first))
                order[best_first[:count]] += 1
                order[members] = 3 + _ranks(ranking[members])
                order[members[np.argsort(ranking[members], kind="stable")[:count]]] = -1
                made = self._cut(order, size)
                if not any(np.array_equal(made, other) for other in [mask, *out]):
                    out.append(made)
        return out

    def _cut(self, ranking: Values, size: int) -> Mask:
        """The best circuit of a size within the last one."""
        within = np.where(self.parent, ranking, np.nan)
        return cut_masks(self.topology, within, [size], "signed")[0]

    def _integrated(self, mask: Mask, points: int) -> Values:
        return self.tests.integrated(mask, [(i + 0.5) / points for i in range(points)])

    def _test(self, masks: Sequence[Mask]) -> list[Tested]:
        """Measure the first circuits, as many as the budget pays for."""
        n = len(masks)
        while n and self.tests.cost(masks[:n]) > self._left():
            n -= 1
        return self.tests.test(masks[:n])

    def _left(self) -> float:
        return self.budget - self.tests.spent


def _flipped(mask: Mask, edge: int) -> Mask:
    out = mask.copy()
    out[edge] = not out[edge]
    return out


def _share(worth: Values) -> Values:
    """The magnitudes, 1 in total."""
    total = np.abs(worth).sum()
    return np.abs(worth) / total if total > 0 else np.zeros_like(worth)


def _ranks(values: Float[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
    """Ranks between 0 and 1. Differences below the ninth digit of the largest are ties."""
    largest = np.abs(values).max(initial=0.0)
    rounded = np.round(values / largest, 9) if largest > 0 else values
    return np.argsort(np.argsort(rounded, kind="stable"), kind="stable") / (len(values) + 1)
