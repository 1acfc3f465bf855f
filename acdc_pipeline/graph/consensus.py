"""What many searches of one problem agree on: how many kept each edge, and what stands in for it.

Frequencies of selection under resampling are those of stability selection (Meinshausen & Bühlmann
2010, arXiv 0809.2932); their intervals are Wilson's (1927).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.edge import Edge

if TYPE_CHECKING:
    from acdc_pipeline.graph.topology import Topology

Role = Literal["necessary", "alternative", "accidental", "uncertain"]
"""What the searches say of an edge, see `Consensus.roles`."""

_Z = 1.959963984540054


def wilson_interval(kept: int, searches: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of the share `kept / searches`, within 0 and 1.

    (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n) with z = 1.96 (Wilson 1927; Brown, Cai &
    DasGupta 2001, equation 4). It is that of draws with replacement: the searches differ in order
    and resample of the prompts, and are independent given these.
    """
    share, scale = kept / searches, _Z**2 / searches
    centre = share + scale / 2
    half = _Z * math.sqrt(share * (1 - share) / searches + scale / (4 * searches))
    # Rounding must not cross the ends, where the interval reaches 0 and 1.
    low = 0.0 if kept == 0 else max(0.0, (centre - half) / (1 + scale))
    high = 1.0 if kept == searches else min(1.0, (centre + half) / (1 + scale))
    return low, high


@dataclass(frozen=True)
class OrGroup:
    """Sets of edges that stand in for one another in the union of all circuits found.

    Args:
        alternatives: the sets; any one of them suffices.
        others_removed: for each set, what removing all other sets costs, in units of the metric;
            below the threshold.
        all_removed: what removing every set costs; above the sum of the others by the threshold.
    """

    alternatives: tuple[tuple[Edge, ...], ...]
    others_removed: tuple[float, ...]
    all_removed: float

    @property
    def edges(self) -> frozenset[Edge]:
        """The edges of all alternatives."""
        return frozenset(edge for edges in self.alternatives for edge in edges)

    def __str__(self) -> str:
        return " or ".join("{" + ", ".join(map(str, edges)) + "}" for edges in self.alternatives)


@dataclass(frozen=True)
class Consensus:
    """The agreement of `searches` searches.

    Args:
        line: the circuit has the edges that more than this share of the searches kept.
        kept: for each edge that some search kept, the number of searches that did; and 0 for those
            that only stand in for others.
        roles: `necessary` if all searches kept the edge and nothing stands in for it; `alternative`
            if it is in an OR group; `accidental` if not more than `line` kept it and removing it
            alone from the union of all circuits costs less than the threshold; else `uncertain`.
        groups: the OR groups.
    """

    searches: int
    line: float
    kept: Mapping[Edge, int]
    roles: Mapping[Edge, Role]
    groups: tuple[OrGroup, ...] = ()

    def share(self, edge: Edge) -> float:
        """The share of the searches that kept `edge`."""
        return self.kept.get(edge, 0) / self.searches

    def interval(self, edge: Edge) -> tuple[float, float]:
        """The 95 % Wilson interval of `share`."""
        return wilson_interval(self.kept.get(edge, 0), self.searches)

    def having(self, role: Role) -> list[Edge]:
        """The edges with this role, in the order of `kept`."""
        return [edge for edge in self.kept if self.roles[edge] == role]

    @property
    def in_groups(self) -> frozenset[Edge]:
        """The edges of all OR groups."""
        return frozenset(edge for group in self.groups for edge in group.edges)

    def group_of(self, edge: Edge) -> tuple[int, int] | None:
        """The numbers of the OR group and of the alternative that hold `edge`; None if none do."""
        for number, group in enumerate(self.groups):
            for at, edges in enumerate(group.alternatives):
                if edge in edges:
                    return number, at
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON data, which `from_dict` reads."""
        return {
            "searches": self.searches,
            "line": self.line,
            "interval": "Wilson, 95 %",
            "edges": [
                {
                    "edge": str(edge),
                    "kept": kept,
                    "share": self.share(edge),
                    "low": self.interval(edge)[0],
                    "high": self.interval(edge)[1],
                    "role": self.roles[edge],
                }
                for edge, kept in self.kept.items()
            ],
            "or_groups": [
                {
                    "alternatives": [list(map(str, edges)) for edges in group.alternatives],
                    "others_removed": list(group.others_removed),
                    "all_removed": group.all_removed,
                }
                for group in self.groups
            ],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Consensus:
        """Return the consensus that `as_dict` wrote.

        Raises:
            KeyError, TypeError, GraphError: it is not such data, or the counts and roles in it do
                not fit together.
        """
        _check_plain(plain)
        edges = {Edge.parse(entry["edge"]): entry for entry in plain["edges"]}
        return cls(
            searches=plain["searches"],
            line=plain["line"],
            kept={edge: entry["kept"] for edge, entry in edges.items()},
            roles={edge: entry["role"] for edge, entry in edges.items()},
            groups=tuple(
                OrGroup(
                    tuple(tuple(map(Edge.parse, names)) for names in group["alternatives"]),
                    tuple(group["others_removed"]),
                    group["all_removed"],
                )
                for group in plain["or_groups"]
            ),
        )

    def check_edges(self, topology: Topology) -> None:
        """Raise GraphError if an edge is not one of this graph."""
        for edge in self.kept:
            topology.check(edge)


def _check_plain(plain: Mapping[str, Any]) -> None:
    """Raise GraphError, KeyError or TypeError if JSON data are not those of a consensus."""
    searches, line = plain["searches"], plain["line"]
    if type(searches) is not int or searches < 1:
        raise GraphError(f"{searches!r} is no number of searches", field="searches")
    if not _is_number(line) or not 0 <= line < 1:
        raise GraphError(f"{line!r} is no share", field="line", allowed="from 0 to 1")
    for entry in plain["edges"]:
        place, kept, role = f"edges.{entry['edge']}", entry["kept"], entry["role"]
        if type(kept) is not int or not 0 <= kept <= searches:
            raise GraphError(f"{kept!r} of {searches} searches kept it", field=f"{place}.kept")
        if role not in get_args(Role):
            roles = ", ".join(get_args(Role))
            raise GraphError(f"{role!r} is no role", field=f"{place}.role", allowed=roles)
    names = {entry["edge"] for entry in plain["edges"]}
    if len(names) < len(plain["edges"]):
        raise GraphError("lists an edge twice", field="edges")
    for number, group in enumerate(plain["or_groups"]):
        alternatives, costs = group["alternatives"], [*group["others_removed"]]
        if len(costs) != len(alternatives) or not all(map(_is_number, costs)):
            raise GraphError("has not a cost for each set", field=f"or_groups.{number}")
        if not _is_number(group["all_removed"]):
            raise GraphError("has no cost of all sets", field=f"or_groups.{number}")
        if not all(alternatives) or not all(names.issuperset(each) for each in alternatives):
            raise GraphError("has edges that no entry names", field=f"or_groups.{number}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def majority(consensus: Consensus) -> frozenset[Edge]:
    """Return the edges of the circuit: those that more than `line` of the searches kept.

    Of an OR group none of whose alternatives is whole above the line, the one kept most often
    belongs to it as well: the circuit needs one of them.
    """
    edges = {edge for edge in consensus.kept if consensus.share(edge) > consensus.line}
    for group in consensus.groups:
        if not any(edges.issuperset(each) for each in group.alternatives):
            edges.update(max(group.alternatives, key=lambda each: _least(consensus, each)))
    return frozenset(edges)


def _least(consensus: Consensus, edges: Iterable[Edge]) -> float:
    return min(map(consensus.share, edges))
