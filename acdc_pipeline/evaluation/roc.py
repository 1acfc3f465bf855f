"""How well edges are told apart that a reference circuit has and that it has not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.graph import Circuit, Edge
from acdc_pipeline.graph.cut import Rank

RocPoint = tuple[float, float]
"""Share of the wrong edges that are kept, share of the right ones that are."""


def roc_of_scores(
    scores: Mapping[Edge, float], truth: Collection[Edge], rank: Rank
) -> tuple[RocPoint, ...]:
    """One point for each score at which edges could be cut; edges of equal score come together.

    Raises:
        InvalidInput: every edge is right, or none is.
    """
    right, wrong = _split(scores, truth)
    groups: dict[float, list[Edge]] = defaultdict(list)
    for edge, score in scores.items():
        groups[abs(score) if rank == "magnitude" else score].append(edge)
    n_wrong, n_right = 0, 0
    out = [(0.0, 0.0)]
    for score in sorted(groups, reverse=True):
        found = sum(edge in right for edge in groups[score])
        n_right, n_wrong = n_right + found, n_wrong + len(groups[score]) - found
        out.append((n_wrong / len(wrong), n_right / len(right)))
    return tuple(out)


def roc_of_circuits(circuits: Iterable[Circuit], reference: Circuit) -> tuple[RocPoint, ...]:
    """One point for each circuit, for methods that find one at each threshold.

    Raises:
        InvalidInput: the reference is the whole graph, or empty.
    """
    right, wrong = _split(reference.topology.edges, reference.edges)
    return tuple(
        (len(found.edges & wrong) / len(wrong), len(found.edges & right) / len(right))
        for found in circuits
    )


def pessimistic_auc(points: Iterable[RocPoint]) -> float:
    """Area under the ROC curve, 0 to 1, higher is better; 1 iff one point is perfect.

    Between two points of the Pareto frontier the curve stays at the lower one (Conmy et al. 2023,
    arXiv 2304.14997, section 4.1), so that circuits nobody found are not counted as found. Chance
    is 0.5 in the limit of many points, and below it with few; nothing found at all is 0.
    """
    frontier = [(0.0, 0.0)]
    for x, y in sorted({*points, (1.0, 1.0)}, key=lambda point: (point[0], -point[1])):
        if y > frontier[-1][1]:
            frontier.append((x, y))
    frontier.append((1.0, 1.0))
    return sum((x1 - x0) * y0 for (x0, y0), (x1, _) in pairwise(frontier))


def _split(
    edges: Iterable[Edge], truth: Collection[Edge]
) -> tuple[frozenset[Edge], frozenset[Edge]]:
    every = frozenset(edges)
    right = every & frozenset(truth)
    if not right or right == every:
        raise InvalidInput(
            f"{len(right)} of {len(every)} edges are in the reference circuit: there is nothing to "
            "tell apart",
            field="reference",
        )
    return right, every - right
