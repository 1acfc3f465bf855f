"""The circuits of a model, in series that differ only in threshold or size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from acdc_pipeline.graph import Edge, Node, Topology
from acdc_pipeline.graph.edge import Receiver
from acdc_pipeline.graph.flow import flow_of
from acdc_pipeline.plotting.circuit_series import Presence, merge_presence
from acdc_pipeline.specs import canonical_json
from acdc_pipeline.specs.names import Positions
from acdc_pipeline.store.figures import faithfulness_by_metric
from acdc_pipeline.wiki.runs import KeptEdge, Run

EdgeKey = tuple[str, ...]
"""Source, destination and slot of an edge; in a graph with spans, the span as well."""

SIZES = ("threshold", "share", "edges")
"""Method parameters that set the size of a circuit."""

_ENOUGH = 0.5
"""Faithfulness below which a circuit does not explain what the model does."""

_POSITIONS: tuple[Positions, ...] = get_args(Positions)
"""Kinds of positions in the order in which their circuits are shown."""

_ALIKE = 0.02
"""Difference in faithfulness up to which the smaller circuit is shown first."""


@dataclass(frozen=True)
class Cut:
    """One circuit of a series: the full graph cut at one threshold or to one size."""

    run: Run
    threshold: float | None
    edges: Mapping[EdgeKey, KeptEdge]

    @property
    def label(self) -> str:
        """The threshold, `0.01`, or the number of edges where there is none."""
        return f"{len(self.edges):,}" if self.threshold is None else f"{self.threshold:g}"

    @cached_property
    def live(self) -> frozenset[EdgeKey]:
        """The edges on a path from `input` to `logits`; the others carry nothing to the output."""
        shape = self.run.shape
        assert shape is not None
        index = {shape.edge_index(parse_edge(key)): key for key in self.edges}
        return frozenset(index[number] for number in flow_of(shape).live(index))

    @cached_property
    def components(self) -> frozenset[EdgeKey]:
        """The edges of the circuit over components, without their spans."""
        return frozenset(map(over_components, self.edges))

    @property
    def size(self) -> float | int:
        return len(self.edges) if self.threshold is None else self.threshold

    @property
    def share(self) -> float | None:
        """Edges of the circuit as a share of all edges."""
        total = self.run.edges_total
        return len(self.edges) / total if total else None

    @property
    def faithfulness(self) -> float | None:
        """(m(C) - m(∅)) / (m(M) - m(∅)) in the run's metric m: 1 like the full model M, 0 like no
        edge at all; not bounded by either.

        For runs of early versions, which did not store it, computed from KL.
        """
        stored = self.run.details.get("faithfulness")
        if isinstance(stored, int | float) and not isinstance(stored, bool):
            return float(stored)
        kl, ablated = self.run.metrics.get("kl"), self.run.metrics.get("ablated_kl")
        return None if kl is None or not ablated else 1 - kl / ablated


@dataclass(frozen=True)
class CircuitSeries:
    """The circuits of a task in a model under the same settings, smallest first."""

    task: str
    cuts: tuple[Cut, ...]

    @property
    def spec(self) -> Any:
        return self.cuts[0].run.spec

    @property
    def shape(self) -> Topology:
        """The full graph."""
        shape = self.cuts[0].run.shape
        assert shape is not None
        return shape

    @property
    def by_span(self) -> bool:
        """Whether edges live in spans."""
        return bool(self.shape.spans)

    @property
    def is_empty(self) -> bool:
        """Whether no circuit has an edge."""
        return not any(cut.edges for cut in self.cuts)

    @property
    def best_faithfulness(self) -> float:
        """The highest faithfulness of a circuit; -inf where none was measured."""
        measured = (c.faithfulness for c in self.cuts if c.edges)
        return max((value for value in measured if value is not None), default=-math.inf)

    @property
    def searches(self) -> int:
        """The number of searches of a consensus; 0 for one search alone."""
        return getattr(self.spec.method, "consensus", 0)

    def label(self, cut: Cut) -> str:
        """Return the label of a circuit, `0.01 x 20` for a consensus of 20 searches."""
        return f"{cut.label} x {self.searches}" if self.searches else cut.label

    @property
    def has_thresholds(self) -> bool:
        """Whether the circuits differ in threshold rather than in size."""
        return self.cuts[0].threshold is not None

    @cached_property
    def first_shown(self) -> int:
        """Index of the most faithful circuit with edges: that of faithfulness nearest to 1.

        Of several within 0.02 of it, the smallest; where none was measured, the largest.
        """
        away = [
            abs(1 - cut.faithfulness) if cut.edges and cut.faithfulness is not None else math.inf
            for cut in self.cuts
        ]
        least = min(away)
        if math.isinf(least):
            return len(self.cuts) - 1
        return next(i for i, distance in enumerate(away) if distance <= least + _ALIKE)

    @cached_property
    def edges(self) -> dict[EdgeKey, Presence]:
        """For every edge of any circuit, which circuits contain it; in the order of the graph."""
        keys: dict[EdgeKey, None] = {}
        for cut in reversed(self.cuts):
            keys |= dict.fromkeys(cut.edges)
        return {key: tuple(key in cut.edges for cut in self.cuts) for key in keys}

    @cached_property
    def heads(self) -> dict[str, Presence]:
        """For every head of any circuit, which circuits contain it."""
        ends = ((node, inside) for key, inside in self.edges.items() for node in key[:2])
        return merge_presence((node, inside) for node, inside in ends if node[0] == "a")

    @cached_property
    def incoming(self) -> dict[str, list[EdgeKey]]:
        """The edges of any circuit by destination."""
        return _group_by_end(self.edges, 1)

    @cached_property
    def outgoing(self) -> dict[str, list[EdgeKey]]:
        """The edges of any circuit by source."""
        return _group_by_end(self.edges, 0)

    def score(self, key: EdgeKey) -> float | None:
        """Return the score of an edge in the largest circuit that contains it."""
        return next((c.edges[key].score for c in reversed(self.cuts) if key in c.edges), None)

    def live(self, key: EdgeKey) -> Presence | None:
        """Return in which circuits an edge is on a path from `input` to `logits`.

        None where the drawing does not tell these edges from others: without positions and
        consensus.
        """
        told = self.by_span or self.searches
        return tuple(key in cut.live for cut in self.cuts) if told else None

    def smallest_with_edge(self, key: EdgeKey) -> Cut:
        """Return the smallest circuit that contains an edge."""
        return self.cuts[self.edges[key].index(True)]

    def smallest_with_head(self, head: str) -> Cut | None:
        """Return the smallest circuit that contains a head; None if none does."""
        inside = self.heads.get(head)
        return None if inside is None else self.cuts[inside.index(True)]

    def rank(self, key: EdgeKey) -> tuple[int, float]:
        """Return a sort key: edges of the smallest circuits first, then those of large |score|."""
        return self.edges[key].index(True), -abs(self.score(key) or 0.0)

    def describe(self, cut: Cut) -> str:
        """Return `τ = 0.01`, or `12 edges` where there is no threshold."""
        return f"τ = {self.label(cut)}" if self.has_thresholds else f"{cut.label} edges"


def group_circuits(runs: Iterable[Run]) -> dict[str, tuple[CircuitSeries, ...]]:
    """Group the runs of a model into series, by task.

    Those without positions come first, then ACDC and the longest series; where the first of them is
    empty, the most faithful that is not.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.edges is not None:
            groups.setdefault((run.spec.task, _settings(run)), []).append(run)
    found: dict[str, list[tuple[tuple[Any, ...], CircuitSeries]]] = {}
    for (task, settings), members in groups.items():
        series = CircuitSeries(task, _sort_cuts(members))
        first = members[0].spec
        rank = (
            _POSITIONS.index(first.positions),
            first.method.name != "acdc",
            -len(series.cuts),
            -first.prompts,
            first.seed,
        )
        found.setdefault(task, []).append(((*rank, settings), series))
    return {
        task: _full_first([series for _, series in sorted(ranked, key=lambda pair: pair[0])])
        for task, ranked in sorted(found.items())
    }


def split_positions(
    found: Sequence[CircuitSeries],
) -> tuple[tuple[CircuitSeries, ...], tuple[CircuitSeries, ...]]:
    """Return the series without positions, and those by span."""
    plain = tuple(series for series in found if not series.by_span)
    return plain, tuple(series for series in found if series.by_span)


def without_positions(
    series: CircuitSeries, plain: Sequence[CircuitSeries]
) -> tuple[CircuitSeries, bool] | None:
    """Return the series of `plain` to compare `series` with, and whether only positions differ.

    None if there is no series without positions.
    """
    own = _settings(series.cuts[0].run, positions=False)
    for other in plain:
        if _settings(other.cuts[0].run, positions=False) == own:
            return other, True
    return (plain[0], False) if plain else None


@dataclass(frozen=True)
class Agreement:
    """What the searches of a consensus agree on: its circuit, scored by shares of them."""

    series: CircuitSeries
    cut: Cut

    def searches_with(self, key: EdgeKey) -> int | None:
        """Return how many searches kept an edge; None if none did.

        Without the file of the consensus, None for edges outside of the circuit too.
        """
        agreed = self.cut.run.consensus
        if agreed is not None:
            return agreed.kept.get(parse_edge(key))
        edge = self.cut.edges.get(key)
        if edge is None or edge.score is None:
            return None
        return round(edge.score * self.series.searches)


def find_agreement(series: CircuitSeries, others: Iterable[CircuitSeries]) -> Agreement | None:
    """Return the consensus whose searches have the settings of the circuit shown first.

    It is that circuit itself, or else the one of `others` with the most searches.
    """
    shown = series.cuts[series.first_shown]
    if series.searches:
        return Agreement(series, shown)
    own = _settings(shown.run, consensus=False)
    found = [
        Agreement(other, cut)
        for other in others
        if other.searches and _settings(other.cuts[0].run, consensus=False) == own
        for cut in other.cuts
        if cut.threshold == shown.threshold
    ]
    return max(found, key=lambda each: each.series.searches, default=None)


def parse_edge(key: EdgeKey) -> Edge:
    """Return the edge of a key."""
    src, dst, slot, *spans = key
    name = f"{dst}<{slot}>" if slot else dst
    return Edge.into(Node.parse(src), Receiver.parse("@".join([name, *spans])))


def over_components(key: EdgeKey) -> EdgeKey:
    """Return an edge without its span."""
    return key[:3]


def other_faithfulness(run: Run) -> tuple[str, float] | None:
    """Return a metric that the run did not optimise, and the faithfulness in it; None without one.

    This is the task's metric for a search by KL, and KL for all others.
    """
    searched_by = run.spec.method.plain().get("metric", "kl")
    found = faithfulness_by_metric(run.metrics, searched_by)
    return next((item for item in found.items() if item[0] != searched_by), None)


def find_weakness(series: CircuitSeries, cut: Cut | None = None) -> tuple[str, float] | None:
    """Return the worse of the two metrics of a circuit, and its faithfulness in that.

    None if it is at least a half, or was not measured.

    Args:
        cut: of `series`; the one shown first by default.
    """
    cut = cut or series.cuts[series.first_shown]
    searched_by = str(cut.run.spec.method.plain().get("metric", "kl"))
    found = [(searched_by, cut.faithfulness), other_faithfulness(cut.run)]
    known = [(name, share) for name, share in filter(None, found) if share is not None]
    least = min(known, key=lambda item: item[1], default=None)
    return least if least is not None and least[1] < _ENOUGH else None


def _full_first(ranked: Sequence[CircuitSeries]) -> tuple[CircuitSeries, ...]:
    """Return series without positions, then those by span; in both, the first is not empty if any
    is not."""
    found: list[CircuitSeries] = []
    for group in split_positions(ranked):
        full = [series for series in group if not series.is_empty]
        first = group[0] if group else None
        if first is not None and first.is_empty and full:
            first = max(full, key=lambda series: series.best_faithfulness)
        found += [] if first is None else [first]
        found += [series for series in group if series is not first]
    return tuple(found)


def _group_by_end(keys: Iterable[EdgeKey], end: int) -> dict[str, list[EdgeKey]]:
    found: dict[str, list[EdgeKey]] = {}
    for key in keys:
        found.setdefault(key[end], []).append(key)
    return found


def _sort_cuts(runs: Sequence[Run]) -> tuple[Cut, ...]:
    cuts = [
        Cut(
            run,
            getattr(run.spec.method, "threshold", None),
            {edge.key: edge for edge in run.edges or ()},
        )
        for run in runs
    ]
    return tuple(sorted(cuts, key=lambda c: (-(c.threshold or 0.0), len(c.edges), c.run.run_id)))


def _settings(run: Run, positions: bool = True, consensus: bool = True) -> str:
    plain = run.spec.plain()
    left_out = SIZES if consensus else (*SIZES, "consensus", "consensus_line")
    method = {name: value for name, value in plain["method"].items() if name not in left_out}
    names = ["task_hash", "prompts", "seed", "dtype", "experts"]
    names += ["positions", "spans_hash"] if positions else []
    rest = {name: plain[name] for name in names if name in plain}
    return canonical_json({**rest, "method": method})
