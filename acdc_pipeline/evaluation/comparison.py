"""Comparing circuits: with a reference by ROC curves, with each other by Jaccard similarity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations, pairwise

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.graph import Circuit, Edge
from acdc_pipeline.graph.circuit import Rank, jaccard

RocPoint = tuple[float, float]
"""Share of the wrong edges that are kept, and share of the right edges that are kept."""


def roc_of_scores(
    scores: Mapping[Edge, float], truth: Collection[Edge], rank: Rank
) -> tuple[RocPoint, ...]:
    """Return a point per distinct score; edges of equal score are added together.

    Raises:
        InvalidInput: all edges are right, or none.
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
    """Return a point per circuit, for methods that find one at each threshold.

    Raises:
        InvalidInput: the reference is the whole graph, or empty.
    """
    right, wrong = _split(reference.topology.edges, reference.edges)
    return tuple(
        (len(found.edges & wrong) / len(wrong), len(found.edges & right) / len(right))
        for found in circuits
    )


def pessimistic_auc(points: Iterable[RocPoint]) -> float:
    """Return the area under the ROC curve, 0 to 1, higher is better; 1 iff a point is perfect.

    Between two points of the Pareto frontier the curve stays at the lower one (Conmy et al. 2023,
    arXiv 2304.14997, section 4.1): circuits that were not found do not count. Chance level is 0.5
    in the limit of many points, and lower with few; without points the area is 0.
    """
    frontier = [(0.0, 0.0)]
    for x, y in sorted({*points, (1.0, 1.0)}, key=lambda point: (point[0], -point[1])):
        if y > frontier[-1][1]:
            frontier.append((x, y))
    frontier.append((1.0, 1.0))
    return sum((x1 - x0) * y0 for (x0, y0), (x1, _) in pairwise(frontier))


def auc(points: Iterable[RocPoint]) -> float:
    """Return the area under the ROC curve in straight lines, 0 to 1; higher is better.

    From (0, 0) through the points, by their share of wrong edges, to (1, 1). On the curve of
    `roc_of_scores` it is the chance that a right edge has a higher score than a wrong one, equal
    scores counting half (InterpBench: Gupta et al. 2024, arXiv 2407.14494; the AUROC of MIB, arXiv
    2504.13151, has ten points of it). Chance level is 0.5.
    """
    line = sorted({(0.0, 0.0), *points, (1.0, 1.0)})
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(line))


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


def mean_pairwise_jaccard(circuits: Sequence[Circuit]) -> float:
    """Return the mean Jaccard similarity over all pairs of circuits. Higher is more stable."""
    pairs = [jaccard(a.edges, b.edges) for a, b in combinations(circuits, 2)]
    return sum(pairs) / len(pairs)
