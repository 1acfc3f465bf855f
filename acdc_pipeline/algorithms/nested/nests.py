"""Nests: circuits of falling size, each within the one before; the best of all that were tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from acdc_pipeline.algorithms.nested.circuit_tests import Tested
from acdc_pipeline.algorithms.nested.forwards import Mask

Nest = tuple["Candidate", ...]

TIE = 1e-7
"""Smaller differences, as shares of the largest loss, are roundings."""


@dataclass(frozen=True)
class Candidate:
    """A circuit that was tested for one size.

    Args:
        order: the ranking that it was cut by: higher is taken first.
    """

    tested: Tested
    order: Float[np.ndarray, " edge"]


class Nests:
    """Candidates for each of several sizes, and the nest of least area among them.

    The area of a nest is Σ weight · loss over the sizes.

    Args:
        weights: of the sizes, from the largest size to the smallest.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = tuple(weights)
        self._of_size: list[dict[bytes, Candidate]] = [{} for _ in self.weights]

    def add(self, at: int, tested: Tested, order: Float[np.ndarray, " edge"]) -> None:
        """Add a circuit for the size of index `at`. Of equal ones the last is kept."""
        key = tested.mask.tobytes()
        self._of_size[at].pop(key, None)
        self._of_size[at][key] = Candidate(tested, order)

    def candidates(self, at: int, within: Mask) -> list[Candidate]:
        """Those for the size of index `at` that are within a circuit."""
        return [one for one in self._of_size[at].values() if _holds(within, one.tested.mask)]

    def area(self, losses: Sequence[float]) -> float:
        """The area of a nest with these losses."""
        return sum(weight * loss for weight, loss in zip(self.weights, losses, strict=True))

    def best(self) -> Nest:
        """The nest of least area, by dynamic programming from the smallest size.

        Without a nest of all sizes it is empty. Of nests whose areas differ by less than `TIE` of
        the largest loss, it is the one whose circuits were added last.
        """
        losses = [one.tested.loss for of_size in self._of_size for one in of_size.values()]
        slack = TIE * max(losses, default=0.0)
        below: list[tuple[float, Nest]] = [(0.0, ())]
        for weight, of_size in zip(self.weights[::-1], reversed(self._of_size), strict=True):
            here: list[tuple[float, Nest]] = []
            for one in of_size.values():
                under = [
                    (area, nest)
                    for area, nest in below
                    if not nest or _holds(one.tested.mask, nest[0].tested.mask)
                ]
                if under:
                    area, nest = _last_of_least(under, slack)
                    here.append((area + weight * one.tested.loss, (one, *nest)))
            below = here
        return _last_of_least(below, slack)[1] if below else ()


def weigh_sizes(sizes: Sequence[int], n_edges: int) -> list[float]:
    """What each size counts for in the trapezoidal sum over sizes, as shares of all edges.

    Args:
        sizes: falling, below `n_edges`, at which the loss is 0.
    """
    ends = [n_edges, *sizes, 0]
    return [(ends[at] - ends[at + 2]) / 2 / n_edges for at in range(len(sizes))]


def score_nest(
    nest: Nest,
    last: Float[np.ndarray, " edge"],
    alone: Mapping[bytes, Mapping[int, Tested]],
) -> Float[np.ndarray, " edge"]:
    """How many circuits of a nest have an edge, and its rank among those in as many.

    Args:
        last: the order of the edges of the smallest circuit.
        alone: of some circuits, by the bytes of their masks, the circuits without single edges:
            where edges leave such a circuit, they are ranked by the loss without each, else by the
            order that the smaller one was cut by.
    """
    scores, within = np.zeros(len(last)), np.ones(len(last), dtype=bool)
    for number, order in enumerate([*(one.order for one in nest), last]):
        scores[within] = number + ranks(order[within])
        if without := alone.get(within.tobytes()):
            losses = np.array([one.loss for one in without.values()])
            scores[list(without)] = number + ranks(losses)
        within = nest[number].tested.mask if number < len(nest) else within
    return scores


def ranks(values: Float[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
    """Ranks from 0, below 1. Differences below the ninth digit of the largest are ties."""
    largest = np.abs(values).max(initial=0.0)
    rounded = np.round(values / largest, 9) if largest > 0 else values
    return np.argsort(np.argsort(rounded, kind="stable"), kind="stable") / (len(values) + 1)


def _last_of_least(nests: Sequence[tuple[float, Nest]], slack: float) -> tuple[float, Nest]:
    least = min(area for area, _ in nests)
    return [one for one in nests if one[0] <= least + slack][-1]


def _holds(outer: Mask, inner: Mask) -> bool:
    return not (inner & ~outer).any()
