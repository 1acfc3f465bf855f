"""The best circuit of a given size, by integer linear programming.

In place of taking edges greedily, all are chosen together (Nikankin et al. 2025, arXiv 2510.25786):

    maximise   Σ worth(e) x_e           over x_e in {0, 1}
    so that    Σ x_e = n
               x_e ≤ reach(source of e) ≤ Σ x of the edges into the source
               x_e ≤ lead(end of e)     ≤ Σ x of the edges out of the end

with reach of `input` and lead of `logits` free. The graph has no cycles, so that every edge kept is
on a path from `input` to `logits`. The solver is HiGHS, through scipy.

Before it starts, edges are decided that no best circuit can do without or hold: U is the sum of the
n best edges whether connected or not, G that of the circuit which is found greedily. An edge that
is not among the n best is out if U, less the worst of them and with it, is below G; one of them is
in if U, with the best of the others in its place, is below G.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.graph.circuit import Rank
from acdc_pipeline.graph.cut import cut_masks
from acdc_pipeline.graph.flow import Flow, flow_of
from acdc_pipeline.graph.topology import Topology

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

TIME_LIMIT = 60.0
"""Seconds after which the best circuit found so far is taken."""

MOST_OPEN = 4000
"""How many edges beyond the size the solver first chooses among, the best ones.

With the circuit that it finds there, more edges are decided; if all that are not decided then are
as few, it chooses among them, and finds the best circuit.
"""

# Sums of worths that differ by less than this share of the largest worth count as equal: the
# solver's own tolerance is as large.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Solution:
    """The circuit that a program found.

    Args:
        mask: over `topology.edges`.
        gap: how far its sum of worths can be below that of the best circuit, as a share of the
            latter; 0 if it is the best.
    """

    mask: Bool[np.ndarray, " edge"]
    gap: float


def best_circuit(
    topology: Topology,
    scores: Float[np.ndarray, " edge"],
    size: int,
    rank: Rank,
    positive_share: float = 0.0,
    time_limit: float = TIME_LIMIT,
) -> Solution:
    """Return the connected circuit of `size` edges whose worths have the largest sum.

    If no circuit of the candidates has that size, the largest smaller one that has one counts.

    Args:
        scores: in the order of `topology.edges`; NaN for edges that may not be kept.
        size: at least 1, at most the number of edges of the graph.
        rank: whether the worth of an edge is |score| or its score.
        positive_share: at least this share of the edges has a score above 0; if no circuit does,
            as many as in the circuit that is found greedily.
        time_limit: seconds for the solver.

    Raises:
        GraphError: no circuit has that many edges.
        InvalidInput: scipy is not installed.
    """
    flow = flow_of(topology)
    worth = np.abs(scores) if rank == "magnitude" else scores
    edges = np.array(sorted(flow.live((~np.isnan(worth)).nonzero()[0].tolist())), dtype=int)
    most = min(size, len(edges))
    mask = cut_masks(topology, scores, [size], rank, positive_share)[0]
    greedy = _fill_up(flow, edges, worth[edges], mask[edges], most)
    program = _Program(flow, edges, worth[edges], scores[edges] > 0, time_limit)
    positives = int((program.positive & greedy).sum())
    for n in range(most, int(greedy.sum()) - 1, -1):
        share = min(math.ceil(positive_share * n - 1e-9), int(program.positive.sum()))
        quotas = sorted({share, min(share, positives)}, reverse=True)
        tries = (program.solve(n, quota, greedy) for quota in quotas)
        found = next((one for one in tries if one is not None), None)
        if found is not None:
            break
    else:
        found = greedy, 1.0
    mask = np.zeros(topology.n_edges, dtype=bool)
    mask[edges[found[0]]] = True
    return Solution(mask, found[1])


def solver() -> Any:
    """Return the module `scipy.optimize`, whose annotations know no arrays as bounds.

    Raises:
        InvalidInput: scipy is not installed.
    """
    try:
        import scipy.optimize
    except ImportError:
        raise InvalidInput(
            "the solver of integer programs is not installed",
            field="select",
            fix="pip install 'acdc-pipeline[ilp]', or select greedily",
        ) from None
    return scipy.optimize


def _fill_up(
    flow: Flow,
    edges: Int[np.ndarray, " n"],
    worth: Float[np.ndarray, " n"],
    kept: Bool[np.ndarray, " n"],
    size: int,
) -> Bool[np.ndarray, " n"]:
    """Fill a circuit up to `size` with the best edges between nodes that it has, and the ends."""
    source, destination = flow.source[edges], flow.destination[edges]
    written, read = set(flow.starts), set(flow.ends)
    for at in kept.nonzero()[0].tolist():
        written.update(flow.outputs_of.get(int(destination[at]), ()))
        read.update(flow.inputs_of.get(int(source[at]), ()))
    between = np.isin(source, list(written)) & np.isin(destination, list(read))
    new = (between & ~kept).nonzero()[0]
    out = kept.copy()
    out[new[np.argsort(-worth[new], kind="stable")][: size - int(kept.sum())]] = True
    return out


@dataclass(frozen=True)
class _Program:
    """The program over the candidate edges of a graph.

    Args:
        edges: the candidates, all on paths from `input` to `logits`.
        worth: of each.
        positive: whether the score of each is above 0.
    """

    flow: Flow
    edges: Int[np.ndarray, " n"]
    worth: Float[np.ndarray, " n"]
    positive: Bool[np.ndarray, " n"]
    time_limit: float

    def solve(
        self, size: int, quota: int, known: Bool[np.ndarray, " n"]
    ) -> tuple[Bool[np.ndarray, " n"], float] | None:
        """The best circuit of `size` edges, at least `quota` of them positive, and its gap.

        Args:
            known: a connected circuit, which bounds the best one if it has that size and quota.

        Returns:
            None if there is none, or none was found in time and `known` is none.
        """
        if not size:
            return np.zeros(len(self.edges), dtype=bool), 0.0
        fits = known.sum() == size and (known & self.positive).sum() >= quota
        tolerance = _TOLERANCE * max(1e-30, float(np.abs(self.worth).max()))
        best = self._best_unconnected(size, quota)
        worst, bound = float(self.worth[best].min()), self._sum(best)
        others = float(self.worth[~best].max(initial=-np.inf))
        kept = known if fits else None
        for first_round in (True, False):
            slack = bound - (-np.inf if kept is None else self._sum(kept)) + tolerance
            may = best | (self.worth >= worst - slack)
            if slack <= 2 * tolerance or not (first_round or may.sum() <= size + MOST_OPEN):
                break
            open_edges = self._first(may, best | known, size + MOST_OPEN)
            must = best & (self.worth > others + slack)
            found = self._optimise(open_edges.nonzero()[0], must, size, quota)
            missing = may & ~open_edges
            if found is not None:
                with_missing = self._sum(best) - worst + self.worth[missing].max(initial=-np.inf)
                bound = min(bound, max(found[1], float(with_missing)))
                if kept is None or self._sum(found[0]) > self._sum(kept):
                    kept = found[0]
            if not missing.any():
                break
        if kept is None:
            return None
        missed = bound - self._sum(kept)
        return kept, 0.0 if missed <= tolerance else min(1.0, missed / abs(bound))

    def _first(
        self, some: Bool[np.ndarray, " n"], needed: Bool[np.ndarray, " n"], count: int
    ) -> Bool[np.ndarray, " n"]:
        """The best `count` of some edges, and those that are needed."""
        order = np.argsort(-self.worth, kind="stable")
        out = needed & some
        out[order[some[order]][:count]] = True
        return out

    def _sum(self, kept: Bool[np.ndarray, " n"]) -> float:
        return float(self.worth[kept].sum())

    def _best_unconnected(self, size: int, quota: int) -> Bool[np.ndarray, " n"]:
        """The best edges, connected or not, among them at least `quota` positive ones."""
        order = np.argsort(-self.worth, kind="stable")
        first = order[self.positive[order]][:quota]
        best = np.zeros(len(order), dtype=bool)
        best[first] = True
        best[order[~best[order]][: size - len(first)]] = True
        return best

    def _optimise(
        self,
        open_edges: Int[np.ndarray, " m"],
        must: Bool[np.ndarray, " n"],
        size: int,
        quota: int,
    ) -> tuple[Bool[np.ndarray, " n"], float] | None:
        """What the solver finds among `open_edges`, and its bound on the sum; None for nothing."""
        optimize = solver()
        connections = self._connections(open_edges)
        n, n_columns = len(open_edges), connections.shape[1]
        counts = np.zeros((2, n_columns))
        counts[0, :n], counts[1, :n] = 1, self.positive[open_edges]
        scale = float(np.abs(self.worth).max()) or 1.0
        cost, low = np.zeros(n_columns), np.zeros(n_columns)
        cost[:n], low[:n] = -self.worth[open_edges] / scale, must[open_edges]
        result = optimize.milp(
            cost,
            integrality=np.arange(n_columns) < n,
            bounds=optimize.Bounds(low, np.ones(n_columns)),
            constraints=[
                optimize.LinearConstraint(connections, -np.inf, 0),
                optimize.LinearConstraint(counts, [size, quota], [size, n]),
            ],
            options={"time_limit": self.time_limit, "mip_rel_gap": 0},
        )
        if result.x is None:
            return None
        kept = np.zeros(len(self.edges), dtype=bool)
        kept[open_edges[result.x[:n] > 0.5]] = True
        bound = self._sum(kept) if result.mip_dual_bound is None else -result.mip_dual_bound * scale
        return kept, bound

    def _connections(self, open_edges: Int[np.ndarray, " m"]) -> Any:
        """The rows x ≤ reach ≤ Σ x and x ≤ lead ≤ Σ x, less than 0, as a sparse matrix of scipy.

        The columns are the edges, then one for each output that is not of `input`, and for each
        input that is not of `logits`.
        """
        from scipy.sparse import coo_array

        flow, edges = self.flow, self.edges[open_edges]
        rows, columns, values = [], [], []
        n_rows, column = 0, len(edges)
        for near, far, ways, free in (
            (flow.source, flow.destination, flow.inputs_of, flow.starts),
            (flow.destination, flow.source, flow.outputs_of, flow.ends),
        ):
            here, there = near[edges], far[edges]
            for number in np.setdiff1d(here, free).tolist():
                own = (here == number).nonzero()[0]
                others = np.isin(there, ways.get(number, ())).nonzero()[0]
                m = len(own)
                row = n_rows + np.arange(m)
                rows += [row, row, np.full(1 + len(others), n_rows + m)]
                columns += [own, np.full(m, column), [column], others]
                values += [np.ones(m), -np.ones(m), [1.0], -np.ones(len(others))]
                n_rows, column = n_rows + m + 1, column + 1
        at = (np.concatenate(rows or [[]]), np.concatenate(columns or [[]]))
        return coo_array((np.concatenate(values or [[]]), at), shape=(n_rows, column)).tocsr()
