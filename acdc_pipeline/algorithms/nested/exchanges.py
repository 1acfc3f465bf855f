"""Exchanges: circuits in which the weakest edges give way to the best others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acdc_pipeline.algorithms.nested.forwards import Mask, Values
from acdc_pipeline.algorithms.nested.nests import ranks
from acdc_pipeline.graph import Topology
from acdc_pipeline.graph.cut import cut_masks

EXCHANGES = (1 / 16, 1 / 6)
"""Shares of a circuit's edges that are exchanged at once."""


def exchanged(
    topology: Topology,
    size: int,
    mask: Mask,
    within: Mask,
    leaving: Sequence[Values],
    entering: Values,
) -> list[tuple[Mask, Values]]:
    """Circuits in which the last members by a ranking give way to the best other edges.

    Args:
        size: the most edges of each.
        mask: the circuit whose edges are exchanged.
        within: the circuit from which others may come.
        leaving: rankings of the members: the lowest leave.
        entering: the ranking of the others: the highest enter.

    Returns:
        Other circuits than `mask`, each once, with the order that it was cut by.
    """
    members, others = mask.nonzero()[0], (within & ~mask).nonzero()[0]
    best_first = others[np.argsort(-entering[others], kind="stable")]
    out: dict[bytes, tuple[Mask, Values]] = {}
    for ranking in leaving:
        for count in sorted({max(1, int(share * size)) for share in EXCHANGES}):
            order = np.zeros(len(mask))
            order[best_first] = np.linspace(1, 0, len(best_first))
            order[best_first[:count]] += 1
            order[members] = 3 + ranks(ranking[members])
            order[members[np.argsort(ranking[members], kind="stable")[:count]]] = -1
            inside = np.where(within, order, np.nan)
            (made,) = cut_masks(topology, inside, [size], "signed")
            out.setdefault(made.tobytes(), (made, order))
    out.pop(mask.tobytes(), None)
    return list(out.values())
