"""Circuits of falling size, proposed by gradients and decided by exact tests."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import Any

import numpy as np

from acdc_pipeline.algorithms.nested.circuit_tests import MOST, CircuitTests, Tested
from acdc_pipeline.algorithms.nested.exchanges import exchanged
from acdc_pipeline.algorithms.nested.forwards import Forwards, Mask, Values
from acdc_pipeline.algorithms.nested.nests import (
    TIE,
    Candidate,
    Nest,
    Nests,
    ranks,
    score_nest,
    weigh_sizes,
)
from acdc_pipeline.algorithms.nested.peeling import peel
from acdc_pipeline.algorithms.scoring import DetailedScores, EdgeScores, ScoringProblem
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.graph.cut import cut_masks
from acdc_pipeline.specs.methods.eap_exact import EapExactMethod

SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Sizes of the circuits, as shares of the graph's edges: those of the MIB benchmark."""

GROUP_POINTS = (0.5,)
"""Points at which the gradients of `eap-ig-activations` are taken."""

PATH_POINTS, POINTS_IF_SMALL = 3, 2
"""Points on the path of the input: usually, and where the budget is below `ENOUGH` times what
`PATH_POINTS` cost or every edge is closed alone."""

ENOUGH = 2.5

SPARE = 3.0
"""Every edge is closed alone only if the budget then still pays for so many circuits."""

PEELED_EDGE = 0.05
"""A circuit is peeled only if so many forwards are left for each of its edges."""

POINTS, POINTS_OF_WHOLE = 2, 3
"""Points at which gates are integrated: of a circuit, and of the whole model where that is done."""

POOR = 0.5
"""If the first circuit loses at least this share of what no edges lose, the gates of the whole
model are integrated."""

MOST_EXCHANGES = 5
"""Exchanges that are tested at once."""

EXACT_FACTOR = 3.0
"""Every edge is closed alone if that costs at most this many times the gradients of
`eap-ig-activations`."""

SINGLE_TESTS = 6.0
"""Forwards up to which every edge is tested alone, in place of gradients."""

LEAST_BY_GRADIENT = 0.03
"""The share of the edges of the smallest circuit in which gradients are taken."""

ROUND, RESERVE = 5.0, 6.0
"""Forwards of tests in each size at which gradients are taken, and in all other sizes together."""

USUAL_POINTS = 0.97 * 5
"""Points of `eap-ig-activations` that the usual budget pays for: its five, less 3 % by which the
count of forwards may be too low."""


def eap_exact(problem: ScoringProblem, method: EapExactMethod) -> EdgeScores:
    """The best nest of circuits that attribution proposes, exact tests decide and exchanges mend.

    A nest (`nested.nests`) is a circuit of each size, within that of the size before. Its area is
    the sum of the circuits' losses, weighted as in the trapezoidal sum over sizes: CMD on the
    prompts that are searched, but in units of the loss and with a last piece down to no edges,
    where the loss counts as 0. The loss is |mean d| + s / √n of the differences d from the model
    over n answers (see `CircuitTests`): a circuit whose metric is above the model's is as wrong as
    one below. The nest of least area among all circuits tested so far is kept:

    1. Attribution proposes circuits of every size, cut (`graph.cut`) from the four `path_scores`,
       which share gradients at 3 points: `eap-ig-inputs` and `conductance` by magnitude, and the
       former's magnitudes summed over prompts, of edges and of nodes; from `eap-ig-activations` at
       one point, by magnitude and with its sign; and from the sum of the magnitudes of these three
       methods, each divided by its total. In graphs so small that closing each edge alone costs at
       most three times `eap-ig-activations`, the exact effects take its place. If the best circuit
       of the largest size is more than half as bad as no edges, minus the gradient by gates
       proposes too, the mean over points on the line from closed gates to open ones: integrated
       gradients (Sundararajan et al. 2017, arXiv 1703.01365) over gates.
    2. Size by size from the largest, let C be the circuit of the nest of a size and P that of the
       size before. Where the budget allows, P is peeled (`peel`): its edges are tested one by one
       from the output backwards, and those removed that add less to the loss than the edges that C
       lacks do on average. What is left is cut by the effects of its edges. ACDC does this with the
       whole model and one threshold. Of paths that stand in for one another one remains.
    3. Exact tests re-rank. The weakest edges of C, by their worth in C (integrated over its gates),
       are exchanged for those of P outside it whose gates have the largest gradient at C. Several
       such exchanges are tested. Where every edge of P can be tested alone for few forwards, the
       exact effects of closing, or opening, each take the place of gradients, again and again while
       that helps. Then circuits of the smaller sizes are cut within C, and within the best circuit
       of its size: from the proposals, from the worth of edges in C, and from the sum of the worth
       in all circuits so far. Progressive skeletonization (de Jorge et al. 2021, arXiv 2006.09081)
       likewise ranks the remaining edges again after each cut.

    Gradients are taken at the sizes at which the weighted loss is largest, as far as the budget
    allows; at the others circuits are cut within P by all rankings. A budget too small for all
    proposals leaves those of the path, which cost the least in deep models. Since the nests of the
    proposals are among all, no nest found has a larger area than theirs.

    A score is the number of circuits of the nest that have the edge, plus a rank between 0 and 1
    among the edges that leave the nest with it: circuits of all sizes cut from it are nested, and
    those of the nest are among them. Where single edges were tested, the loss without each ranks
    them. The details of the scores say what was spent, in forwards, the circuits, and the exact
    effects of removing single edges, where they were measured.

    Raises:
        InvalidInput: the budget does not pay for the first proposal.
    """
    forwards = Forwards(problem.bench)
    least = forwards.along_path(POINTS_IF_SMALL)
    budget = method.budget or USUAL_POINTS * forwards.gradients_by_group()
    if budget < least:
        raise InvalidInput(
            f"{budget:g} forwards do not pay for a proposal",
            field="budget",
            allowed=f"at least {least:g}",
            fix="give more, or leave it out",
        )
    search = _Search(problem, budget)
    scores = search.run()
    details = {"forwards": search.tests.spent, "budget": budget, "circuits": search.report()}
    by_edge = dict(zip(problem.topology.edges, scores.tolist(), strict=True))
    return DetailedScores(by_edge, details)


class _Search:
    """What is known of circuits and edges.

    Attributes:
        reserve: forwards that are kept for measuring what is returned.
        nests: the circuits that were tested.
        proposals: the rankings made from the whole model, before any exchange.
        worth: what edges are worth in the circuit that was looked at last, 0 outside.
        history: their share of all worth, summed over circuits.
        alone: of circuits in which each edge was closed alone, the circuits without it.
        found: the circuits of the nest that is returned.
    """

    def __init__(self, problem: ScoringProblem, budget: float) -> None:
        self.problem, self.topology, self.budget = problem, problem.topology, budget
        self.tests = CircuitTests(problem, budget)
        forwards = self.tests.forwards
        self._of_circuit = 1 + forwards.of_edges + forwards.of_answers
        self.reserve = self._of_circuit
        self._of_exchange = forwards.gradient(apart=True)
        self._of_exchange += forwards.integral(POINTS, problem.memory)
        n_edges = self.topology.n_edges
        self.sizes = sorted({int(share * n_edges + 1e-9) for share in SHARES} - {0}, reverse=True)
        self.nests = Nests(weigh_sizes(self.sizes, n_edges))
        self.whole: Mask = np.ones(n_edges, dtype=bool)
        self.history: Values = np.zeros(n_edges)
        of_groups = len(GROUP_POINTS) * forwards.gradients_by_group()
        few = forwards.along_path(POINTS_IF_SMALL)
        spare = self._left() - few - SPARE * self._of_circuit
        alone = self._close_each(min(spare, EXACT_FACTOR * of_groups))
        many = alone is None and budget >= ENOUGH * forwards.along_path(PATH_POINTS)
        along = self.tests.along_path(PATH_POINTS if many else POINTS_IF_SMALL)
        of_edges = [np.abs(along.inputs), np.abs(along.flows), along.magnitudes]
        for worth in (along.flows, along.inputs):
            self._learn(worth)
        if alone is not None or self._left() >= of_groups:
            self._learn(self.tests.by_group(GROUP_POINTS) if alone is None else alone)
            of_edges = [np.abs(self.worth), *of_edges, self.history]
        # Of circuits that are equally good, that of the later ranking is kept.
        self.proposals = [along.nodes, *of_edges]
        self.alone: dict[bytes, dict[int, Tested]] = {}
        self.found: list[Tested] = []

    def run(self) -> Values:
        """The score of every edge, see `eap_exact`."""
        plain = self._fill(0, [*self.proposals, self.worth], self.whole)
        if not self.nests.best():  # the budget pays for no tests, or there are no sizes
            self.problem.advance(1.0)
            return self.proposals[1]  # the first of edges
        self._peel(0, self.whole, self.nests.best())
        self._integrate_if_poor()
        by_gradient = self._sizes_by_gradient()
        for at in range(len(self.sizes)):
            nest = self.nests.best()
            within = nest[at - 1].tested.mask if at else self.whole
            if at and self._peel(at, within, nest):
                nest = self.nests.best()
            if not nest[at].tested.mask.any():  # no path is that short
                break
            if self._test_alone(at, within, nest) or (
                at in by_gradient and self._exchange(at, within, nest)
            ):
                self._fill_below(at, within, nest)
            else:
                self._fill(at, self._rankings(), within)
            self.problem.advance(min(MOST, self.tests.spent / self.budget))
        nest, self.reserve = self.nests.best(), 0.0
        made = [score_nest(one, self.history, {}) for one in (nest, *plain)]
        scores = self._settle([score_nest(nest, self.history, self.alone), *made])
        self.problem.advance(1.0)
        return scores

    def _close_each(self, allowed: float) -> Values | None:
        """The exact effect of closing each edge alone; None if that costs more than `allowed`."""
        # Counting takes long: so many are not counted, as if each computed one output of mean cost.
        if len(self.whole) > allowed * len(self.topology.sources):
            return None
        closed = [_flipped(self.whole, edge) for edge in range(len(self.whole))]
        if self.tests.cost(closed) > allowed:
            return None
        return np.array([one.value for one in self.tests.test(closed)])

    def _sizes_by_gradient(self) -> set[int]:
        """Where gradients are worth most: as many sizes, by index, as the budget pays for."""
        n_edges = self.topology.n_edges
        best, weights = self.nests.best(), self.nests.weights
        large = [at for at in range(len(best)) if self.sizes[at] > LEAST_BY_GRADIENT * n_edges]
        gain = {at: weights[at] * best[at].tested.loss for at in large}
        n = int((self.budget - self.tests.spent - RESERVE) / (self._of_exchange + ROUND))
        return set(sorted(gain, key=lambda at: -gain[at])[: max(0, n)])

    def _integrate_if_poor(self) -> None:
        """Integrate the gates of the whole model if the best circuit of the first size is poor.

        Changing sources one group at a time shows nothing where others stand in for each of them.
        """
        (empty,) = self.tests.test([~self.whole])
        if self.nests.best()[0].tested.loss < POOR * empty.loss:
            return
        if self._left() >= self.tests.forwards.integral(POINTS_OF_WHOLE, self.problem.memory):
            self._learn(self._integrated(self.whole, POINTS_OF_WHOLE))
            self._fill(0, self._rankings(), self.whole)

    def _exchange(self, at: int, within: Mask, nest: Nest) -> bool:
        """Exchange edges by gradients, once; False if that costs too much."""
        best = nest[at].tested
        if self._left() < self._of_exchange:
            return False
        self._learn(self._integrated(best.mask, POINTS))
        entering = self.tests.gradient(best)
        made = exchanged(
            self.topology, self.sizes[at], best.mask, within, self._rankings(), entering
        )
        self._add(at, made[:MOST_EXCHANGES])
        return True

    def _peel(self, at: int, within: Mask, nest: Nest) -> bool:
        """Peel the circuit of the size before, if that is affordable; whether it was done.

        The threshold is the loss that the nest adds from the size before to this one, per edge that
        it removes. Of what is left of the budget, a size has the share that its weighted loss has
        in the sum of its own and those of all smaller sizes.
        """
        weights = self.nests.weights
        gains = [weights[i] * one.tested.loss for i, one in enumerate(nest)]
        n, many = int(within.sum()), int(within.sum()) - self.sizes[at]
        if many <= 0 or gains[at] <= TIE * sum(gains):
            return False
        allowed = self._left() * gains[at] / sum(gains[at:])
        if n * PEELED_EDGE + self._of_circuit > allowed:
            return False
        (around,) = self.tests.test([within])
        threshold = max(0.0, nest[at].tested.loss - around.loss) / many
        peeled = peel(self.tests, within, threshold, allowed)
        if peeled is None:
            return False
        order = self.history.copy()
        if peeled.complete:
            tested = ~np.isnan(peeled.effects)
            order[tested] = peeled.effects[tested]
        order = ranks(order) + np.where(peeled.mask, 2, np.where(within, 1, 0))
        self._fill(at, [order], within)
        return True

    def _test_alone(self, at: int, within: Mask, nest: Nest) -> bool:
        """Exchange edges by exact effects while that helps; False if that costs too much."""
        best, edges, measured = nest[at].tested, within.nonzero()[0].tolist(), False
        while True:
            allowed = min(SINGLE_TESTS, self._left())
            # As in `_close_each`.
            if len(edges) > allowed * len(self.topology.sources):
                break
            flipped = [_flipped(best.mask, edge) for edge in edges]
            if self.tests.cost(flipped) > allowed:
                break
            tested, inside, measured = self.tests.test(flipped), best.mask[edges], True
            change = np.array([one.loss for one in tested]) - best.loss
            worth = np.zeros(len(best.mask))
            worth[edges] = np.where(inside, change, -change)
            self._learn(worth)
            self.alone[best.mask.tobytes()] = {
                edge: one for edge, one in zip(edges, tested, strict=True) if best.mask[edge]
            }
            made = exchanged(self.topology, self.sizes[at], best.mask, within, [worth], worth)
            new = min([best, *self._add(at, made)], key=lambda one: one.loss)
            if new is best:
                break
            best = new
        return measured

    def _fill_below(self, at: int, within: Mask, nest: Nest) -> None:
        """Cut smaller circuits within the best one of a size, and within that of the nest."""
        if at + 1 == len(self.sizes):
            return
        made = [one.tested for one in self.nests.candidates(at, within)]
        best = min(made, key=lambda one: one.loss)
        for mask in (best.mask, nest[at].tested.mask):
            self._fill(at + 1, [score_nest(nest, self.history, {}), *self._rankings()], mask)

    def _settle(self, scores: Sequence[Values]) -> Values:
        """The first scores whose nest, as it is cut from them, has the least area.

        Cuts from the scores of a nest may be other circuits, where paths of several edges do not
        fit a size, so they are measured.
        """
        best, least = scores[0], np.inf
        for made in scores:
            found = self._test(cut_masks(self.topology, made, self.sizes, "signed"))
            if len(found) == len(self.sizes):
                area = self.nests.area([one.loss for one in found])
                if area < least * (1 - TIE):
                    best, least, self.found = made, area, found
        return best

    def report(self) -> list[dict[str, Any]]:
        """The circuits that were found, with the exact effects of edges if they were measured."""
        names = self.topology.edges
        out: list[dict[str, Any]] = []
        for one in self.found:
            if not one.mask.any():
                break
            found = {"edges": int(one.mask.sum()), "value": one.value, "loss": one.loss}
            if one.mask.tobytes() in self.alone:
                without = self.alone[one.mask.tobytes()].items()
                found["effects"] = {str(names[edge]): of.value - one.value for edge, of in without}
            out.append(found)
        return out

    def _learn(self, worth: Values) -> None:
        self.worth, self.history = worth, self.history + _share(worth)

    def _rankings(self) -> list[Values]:
        return [np.abs(self.worth), *self.proposals, self.history, self.worth]

    def _fill(self, at: int, rankings: Sequence[Values], within: Mask) -> list[Nest]:
        """Test the circuits cut by rankings for the size of index `at` and all smaller ones."""
        sizes, out = self.sizes[at:], []
        inside = [np.where(within, ranking, np.nan) for ranking in rankings]
        masks = [mask for one in inside for mask in cut_masks(self.topology, one, sizes, "signed")]
        tested = self._test(masks)
        for number, ranking in enumerate(rankings):
            of_ranking = tested[number * len(sizes) : (number + 1) * len(sizes)]
            for size, one in enumerate(of_ranking, at):
                self.nests.add(size, one, ranking)
            if len(of_ranking) == len(sizes):
                out.append(tuple(Candidate(one, ranking) for one in of_ranking))
        return out

    def _add(self, at: int, made: Sequence[tuple[Mask, Values]]) -> list[Tested]:
        """Test circuits, each with the order it was cut by, for the size of index `at`."""
        tested = self._test([mask for mask, _ in made])
        for one, (_, order) in zip(tested, made, strict=False):
            self.nests.add(at, one, order)
        return tested

    def _integrated(self, mask: Mask, points: int) -> Values:
        return self.tests.integrated(mask, [(i + 0.5) / points for i in range(points)])

    def _test(self, masks: Sequence[Mask]) -> list[Tested]:
        """Measure the first circuits, as many as the budget pays for."""
        n = len(masks)
        if self.tests.cost(masks) > self._left():
            paid = range(1, n + 1)
            n = bisect(paid, self._left(), key=lambda n: self.tests.cost(masks[:n]))
        return self.tests.test(masks[:n])

    def _left(self) -> float:
        return self.budget - self.tests.spent - self.reserve


def _flipped(mask: Mask, edge: int) -> Mask:
    out = mask.copy()
    out[edge] = not out[edge]
    return out


def _share(worth: Values) -> Values:
    """The magnitudes, 1 in total."""
    total = np.abs(worth).sum()
    return np.abs(worth) / total if total > 0 else np.zeros_like(worth)
