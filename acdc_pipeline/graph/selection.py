"""How a circuit is selected from a score for every edge: greedily, or by an integer program.

The three parts come from Nikankin et al. 2025 (arXiv 2510.25786): the share of positive edges, the
integer program, and the bootstrap filter, which leaves edges whose sign is not certain the score 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from acdc_pipeline.graph.circuit import Circuit, Rank, Selector
from acdc_pipeline.graph.cut import cut_masks, least_size, score_array
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.integer_program import best_circuit
from acdc_pipeline.graph.topology import Topology

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Selection:
    """The rule by which circuits are cut from scores.

    Args:
        rank: whether edges are ranked by |score| or by signed score (higher means more needed).
        by: how they are chosen.
        positive_share: at least this share of the circuit's edges, from 0 to 1, has a score above
            0, as long as there are such edges.
        filtered: whether edges of score 0 are no candidates.
    """

    rank: Rank
    by: Selector = "greedy"
    positive_share: float = 0.0
    filtered: bool = False

    def circuit(
        self, topology: Topology, scores: Mapping[Edge, float], edges: int
    ) -> tuple[Circuit, float]:
        """Return the circuit of at most `edges` edges, and its gap.

        The gap is how far the sum of its worths may be below that of the best circuit, as a share
        of the latter; NaN where edges are chosen greedily.

        Args:
            scores: of the edges that may be kept; all become scores of the circuit.

        Raises:
            GraphError: a scored edge does not exist, or no circuit has that many edges.
        """
        ((mask, gap),) = self._select(topology, score_array(topology, scores), [edges])
        return Circuit(topology, frozenset(topology.edges_in(mask)), scores), gap

    def masks(
        self, topology: Topology, scores: Float[np.ndarray, " edge"], sizes: Sequence[int]
    ) -> list[Bool[np.ndarray, " edge"]]:
        """Return the edges of the circuit of each of several sizes.

        Args:
            scores: in the order of `topology.edges`; NaN for edges that may not be kept.
            sizes: each at least 1, at most the number of edges of the graph.

        Raises:
            GraphError: no circuit has that many edges.
        """
        return [mask for mask, _ in self._select(topology, scores, sizes)]

    def least_size(self, topology: Topology, scores: Mapping[Edge, float]) -> int | None:
        """Return the size from which on circuits are not empty; None if no scored path exists.

        An integer program may find a smaller one.
        """
        candidates = self._candidates(score_array(topology, scores))
        return least_size(topology, candidates, self.rank, self.positive_share)

    def _candidates(self, scores: Float[np.ndarray, " edge"]) -> Float[np.ndarray, " edge"]:
        return np.where(scores == 0, np.nan, scores) if self.filtered else scores

    def _select(
        self, topology: Topology, scores: Float[np.ndarray, " edge"], sizes: Sequence[int]
    ) -> list[tuple[Bool[np.ndarray, " edge"], float]]:
        """The edges of the circuit of each size, and its gap."""
        candidates = self._candidates(scores)
        if self.by == "greedy":
            masks = cut_masks(topology, candidates, sizes, self.rank, self.positive_share)
            return [(mask, float("nan")) for mask in masks]
        how = self.rank, self.positive_share
        found = (best_circuit(topology, candidates, size, *how) for size in sizes)
        return [(solution.mask, solution.gap) for solution in found]
