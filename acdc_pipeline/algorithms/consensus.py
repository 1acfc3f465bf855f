"""Consensus of many exact searches, and the sets of edges that stand in for one another.

A circuit that one search finds is one of several: of redundant paths it keeps the one that it
tests last, and on other prompts it draws the line elsewhere (arXiv 2605.12671, 2510.00845). Counts
over searches show the second; the first shows in which edges exclude one another, and is confirmed
by removing them together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from jaxtyping import Bool

from acdc_pipeline.graph import Edge, Topology
from acdc_pipeline.graph.consensus import Consensus, OrGroup, Role

Mask = Bool[np.ndarray, " edge"]
"""Which of `Topology.edges` a circuit has."""

Measure = Callable[[Sequence[Mask]], list[float]]
"""The metric of circuits on all prompts, oriented so that higher is worse."""


@dataclass(frozen=True)
class ConsensusResult:
    """The consensus, and the work that it took beside the searches.

    Args:
        stand_ins: the circuits found without one edge, by that edge.
        unchecked: necessary edges that the model can do without, for which no stand-in was looked.
        measured: circuits measured.
    """

    consensus: Consensus
    stand_ins: Mapping[Edge, frozenset[Edge]]
    unchecked: int
    measured: int


def agree(
    topology: Topology,
    circuits: Sequence[frozenset[Edge]],
    *,
    line: float,
    threshold: float,
    measure: Measure,
    search_without: Callable[[Edge], frozenset[Edge]],
    most_stand_ins: int,
) -> ConsensusResult:
    """Return what `circuits`, found by searches of one problem, agree on.

    An edge that every search kept although the whole model can do without it (removing it alone
    costs less than the threshold) has a stand-in that every search removed first, such as a backup
    head (Wang et al. 2022, arXiv 2211.00593, section 3.4). The circuit of the model without that
    edge shows it; `search_without` finds that one.

    Args:
        line: see `Consensus`.
        threshold: τ of the searches.
        search_without: the circuit that a search finds in the model without an edge.
        most_stand_ins: the largest number of such searches.
    """
    counts = {edge: sum(edge in found for found in circuits) for edge in topology.edges}
    always = [edge for edge, count in counts.items() if count == len(circuits)]
    costs = _Costs(topology, measure, topology.edge_set)
    costs.learn([edge] for edge in always)
    doubtful = sorted((e for e in always if costs.of([e]) < threshold), key=lambda e: costs.of([e]))
    stand_ins: dict[Edge, frozenset[Edge]] = {}
    unchecked = 0
    for edge in doubtful:
        if any(edge not in other for other in stand_ins.values()):
            continue  # it belongs to what an earlier one replaces
        if len(stand_ins) == most_stand_ins:
            unchecked += 1
        else:
            stand_ins[edge] = search_without(edge)
    rows = [*circuits, *stand_ins.values()]
    kept = {edge: n for edge, n in counts.items() if any(edge in row for row in rows)}
    union = _Costs(topology, measure, kept)
    groups = _find_groups(topology, rows, union, threshold)
    inside = {edge for group in groups for edge in group.edges}
    # What a search found on its way without an edge, and no group confirms, is no result.
    kept = {edge: n for edge, n in kept.items() if n or edge in inside}
    few = {edge for edge, n in kept.items() if n <= line * len(circuits)}
    union.learn([edge] for edge in few)

    def role(edge: Edge) -> Role:
        if edge in inside:
            return "alternative"
        if kept[edge] == len(circuits):
            return "necessary"
        return "accidental" if edge in few and union.of([edge]) < threshold else "uncertain"

    roles: dict[Edge, Role] = {edge: role(edge) for edge in kept}
    consensus = Consensus(len(circuits), line, kept, roles, tuple(groups))
    return ConsensusResult(consensus, stand_ins, unchecked, costs.measured + union.measured)


@dataclass
class _Costs:
    """What removing sets of edges from a circuit costs, each measured once."""

    topology: Topology
    measure: Measure
    circuit: Collection[Edge]
    measured: int = 0
    _values: dict[frozenset[Edge], float] = field(default_factory=dict)

    def learn(self, sets: Iterable[Iterable[Edge]]) -> None:
        """Measure sets together, where they are not known."""
        new = list(dict.fromkeys(map(frozenset, sets)))
        new = [edges for edges in (frozenset[Edge](), *new) if edges not in self._values]
        if not new:
            return
        whole = self.topology.edge_mask(self.circuit)
        masks = [whole & ~self.topology.edge_mask(edges) for edges in new]
        self._values.update(zip(new, self.measure(masks), strict=True))
        self.measured += len(new)

    def of(self, edges: Iterable[Edge]) -> float:
        """What removing `edges` together costs."""
        key = frozenset(edges)
        self.learn([key])
        return self._values[key] - self._values[frozenset()]


_Family = tuple[tuple[Edge, ...], ...]


def _find_groups(
    topology: Topology, rows: Sequence[frozenset[Edge]], costs: _Costs, threshold: float
) -> list[OrGroup]:
    """Return the OR groups among edges that different circuits keep.

    Edges that the same circuits keep form a set. Two or three sets of which every circuit keeps
    exactly one are checked by removing them.
    """
    patterns: dict[int, list[Edge]] = {}
    for edge in topology.edges:
        pattern = sum(1 << number for number, row in enumerate(rows) if edge in row)
        patterns.setdefault(pattern, []).append(edge)
    everywhere = (1 << len(rows)) - 1
    own = sorted(set(patterns) - {0, everywhere})
    families = [(one, everywhere ^ one) for one in own if everywhere ^ one in own]
    families += [
        (one, two, everywhere ^ one ^ two)
        for one, two in combinations(own, 2)
        if not one & two and everywhere ^ one ^ two in own
    ]
    # Numbers that add up to the same total, each found once for every order.
    distinct = sorted({tuple(sorted(family)) for family in families}, key=lambda f: (len(f), f))
    sets = [tuple(tuple(patterns[each]) for each in family) for family in distinct]
    costs.learn(removed for family in sets for removed in _removals(family))
    return [group for family in sets if (group := _group(family, costs, threshold))]


def _removals(family: _Family) -> Iterator[list[Edge]]:
    """For each set all others, and then all sets."""
    for kept in (*range(len(family)), None):
        yield [edge for at, edges in enumerate(family) if at != kept for edge in edges]


def _group(family: _Family, costs: _Costs, threshold: float) -> OrGroup | None:
    *alone, together = map(costs.of, _removals(family))
    superadditive = together - sum(max(0.0, cost) for cost in alone) >= threshold
    if not superadditive or max(alone) >= threshold:
        return None
    return OrGroup(family, tuple(alone), together)
