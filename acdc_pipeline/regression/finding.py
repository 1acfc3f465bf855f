"""The compared part of a run, the distances of two runs, and the tolerance of a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from acdc_pipeline.graph import Circuit, Edge, Node
from acdc_pipeline.graph.circuit import jaccard
from acdc_pipeline.graph.consensus import Consensus
from acdc_pipeline.regression import LEAST_SEEDS
from acdc_pipeline.specs import Spec
from acdc_pipeline.store import RunRecord

EDGES, HEADS, SIZE, RANKING = "edges", "heads", "size", "ranking"
"""Statistics of circuits; every other statistic is a metric, by its name."""

NECESSARY, SHARES = "necessary", "shares"
"""Statistics of a consensus: necessary edges that were lost, and edges whose share moved."""

MIN_RANKED = 3
"""Least number of shared edges for a rank correlation."""

METRIC_FLOOR = 1e-3
"""Change of a metric that is never drift, relative to its size where that is above 1: sums of
32-bit numbers in another order differ by about 1e-6, and one edge at the threshold that falls the
other way moves a metric by more."""

RANKING_FLOOR = 0.05
"""Change of Spearman's correlation that is never drift: neighbours in the order may swap."""


@dataclass(frozen=True)
class Finding:
    """The part of a run that is compared.

    Args:
        circuit: the circuit, with scores of its edges where the method gives any.
        metrics: metrics of the circuit and of the whole model (`model_…`) by name, and the
            `faithfulness` of the circuit if it has one.
        consensus: of the searches that agree on the circuit; None for one search alone.
    """

    circuit: Circuit
    metrics: Mapping[str, float]
    consensus: Consensus | None = None

    @property
    def heads(self) -> frozenset[Node]:
        return frozenset(node for node in self.circuit.nodes if node.kind == "head")


def finding_of(record: RunRecord) -> Finding:
    """Return the finding of a run with a circuit.

    Scores of removed edges are left out, and so are the metrics of the ablated model, which
    faithfulness accounts for.
    """
    found = record.circuit
    assert found is not None, "a run that finds no circuit is not compared"
    scores = {edge: score for edge, score in found.scores.items() if edge in found.edges}
    metrics = {n: v for n, v in record.metrics.items() if not n.startswith("ablated_")}
    faithfulness = record.details.get("faithfulness")
    if faithfulness is not None:
        metrics["faithfulness"] = float(faithfulness)
    return Finding(Circuit(found.topology, found.edges, scores), metrics, record.consensus)


def distances(a: Finding, b: Finding) -> dict[str, float]:
    """Return the distance of two findings in each statistic; 0 where they agree, never negative.

    `edges` and `heads` are 1 - Jaccard of the sets; `size` is the difference in edges; `ranking`
    is 1 - Spearman's correlation of |score| over the shared edges, and is left out where these are
    fewer than three or have equal scores; metrics, in their own unit, are compared where both
    findings have them. Where both have a consensus, `necessary` is the number of edges that `a`
    found necessary and the circuit of `b` lacks, and `shares` that of the edges whose share moved.
    """
    found = {
        EDGES: 1 - jaccard(a.circuit.edges, b.circuit.edges),
        HEADS: 1 - jaccard(a.heads, b.heads),
        SIZE: float(abs(len(a.circuit) - len(b.circuit))),
    }
    correlation = rank_correlation(a.circuit.scores, b.circuit.scores)
    if correlation is not None:
        found[RANKING] = 1 - correlation
    for name in sorted(set(a.metrics) & set(b.metrics)):
        found[name] = abs(a.metrics[name] - b.metrics[name])
    if a.consensus is not None and b.consensus is not None:
        found[NECESSARY] = float(len(lost_necessary(a, b)))
        found[SHARES] = float(len(moved_shares(a, b)))
    return found


def lost_necessary(was: Finding, now: Finding) -> list[Edge]:
    """Return the edges that the consensus of `was` found necessary and the circuit of `now` lacks.

    Both findings have a consensus.
    """
    assert was.consensus is not None
    return [edge for edge in was.consensus.having("necessary") if edge not in now.circuit.edges]


def moved_shares(was: Finding, now: Finding) -> list[Edge]:
    """Return the edges whose shares in two consensuses have intervals without a common point."""
    before, after = was.consensus, now.consensus
    assert before is not None
    assert after is not None
    moved = []
    for edge in dict.fromkeys((*before.kept, *after.kept)):
        (low, high), (new_low, new_high) = before.interval(edge), after.interval(edge)
        if new_low > high or new_high < low:
            moved.append(edge)
    return moved


def rank_correlation(a: Mapping[Edge, float], b: Mapping[Edge, float]) -> float | None:
    """Return Spearman's correlation of |score| over the shared edges; None where undefined."""
    shared = sorted(set(a) & set(b), key=str)
    if len(shared) < MIN_RANKED:
        return None
    x, y = (_rank(np.array([abs(scores[edge]) for edge in shared])) for scores in (a, b))
    if not (x.std() > 0 and y.std() > 0):
        return None
    # equal orders have a correlation of exactly 1, whatever the rounding
    return 1.0 if np.array_equal(x, y) else float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))


class Tolerance(Spec):
    """Distances of other samples of prompts from a baseline, and the limits they imply.

    Args:
        measured: distances by statistic, in the order of `seeds`; null where a sample has none.
        limits: the largest distance of each statistic that is not drift.
    """

    seeds: tuple[int, ...] = Field(min_length=LEAST_SEEDS)
    measured: dict[str, tuple[float | None, ...]]
    limits: dict[str, Annotated[float, Field(ge=0)]]


def measure_tolerance(reference: Finding, others: Mapping[int, Finding]) -> Tolerance:
    """Return the tolerance of a baseline.

    A limit is the largest measured distance: a change larger than that of any other sample of
    prompts is drift. It is never below the effect of rounding, see `floor`. Where the reference has
    a consensus, its circuit is held against that alone, which is from many samples already: no
    necessary edge may be lost and no share may move, and the distances of circuits are not limited.
    """
    rows = [distances(reference, finding) for finding in others.values()]
    names = dict.fromkeys(name for row in rows for name in row)
    largest = {name: max(row[name] for row in rows if name in row) for name in names}
    return Tolerance(
        seeds=tuple(others),
        measured={name: tuple(_round_distance(row.get(name)) for row in rows) for name in names},
        limits={name: _limit(name, reference, largest[name]) for name in names},
    )


def _limit(statistic: str, reference: Finding, largest: float) -> float:
    if reference.consensus is not None:
        n_edges = float(reference.circuit.topology.n_edges)
        of_consensus = {NECESSARY: 0.0, SHARES: 0.0}
        # The largest values that these distances can have.
        of_consensus |= {EDGES: 1.0, HEADS: 1.0, SIZE: n_edges, RANKING: 2.0}
        if statistic in of_consensus:
            return of_consensus[statistic]
    return max(floor(statistic, reference), largest)


def floor(statistic: str, reference: Finding) -> float:
    """Return the distance that is never drift: that of one exchanged edge, or of rounding.

    A circuit of n edges that loses one and gains one shares n - 1 of n + 1, a distance of
    2 / (n + 1); one of n heads that gains one shares n of n + 1.
    """
    if statistic == EDGES:
        return 2 / (len(reference.circuit) + 1)
    if statistic == HEADS:
        return 1 / (len(reference.heads) + 1)
    if statistic == SIZE:
        return 1.0
    if statistic == RANKING:
        return RANKING_FLOOR
    return METRIC_FLOOR * max(1.0, abs(reference.metrics[statistic]))


def _rank(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def _round_distance(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
