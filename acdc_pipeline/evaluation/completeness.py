"""Completeness: what is left out of a circuit should not matter, also once parts of it are gone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation.faithfulness import Scale, value_of
from acdc_pipeline.evaluation.parts import Parts, edges_of, random_halves
from acdc_pipeline.graph import Circuit


@dataclass(frozen=True)
class Knockout:
    """Circuit and model without the same parts.

    Args:
        parts: K, the names of what was removed from both.
        circuit: F(C \\ K), in the metric's own sign.
        model: F(M \\ K), likewise.
        incompleteness: |F(C \\ K) - F(M \\ K)| as a share of |m(G) - m(∅)|. Lower is better.
    """

    parts: tuple[str, ...]
    circuit: float
    model: float
    incompleteness: float


def completeness(
    bench: Bench, scale: Scale, circuit: Circuit, parts: Parts, *, draws: int, seed: int
) -> tuple[Knockout, ...]:
    """What removing the same parts does to the circuit and to the model (Wang et al. 2022).

    The completeness criterion of "Interpretability in the Wild" (arXiv 2211.00593, section 4.1):
    for every K in C, |F(C \\ K) - F(M \\ K)| should be small. A circuit that lacks a backup fails
    it, though it is faithful. K is nothing, each part alone, and `draws` random halves; for the
    K that a greedy search finds, see `worst_knockouts`.

    Args:
        bench: the model at work on the prompts.
        scale: the metric F and its ends.
        circuit: C.
        parts: what is removed; M stands for the whole graph.
        draws: how many random sets.
        seed: of those.
    """
    rng = random.Random(f"completeness {seed}")
    sets = [(), *((name,) for name in parts), *random_halves(parts, n=draws, rng=rng)]
    return tuple(knock_out(bench, scale, circuit, parts, names) for names in dict.fromkeys(sets))


def knock_out(
    bench: Bench, scale: Scale, circuit: Circuit, parts: Parts, names: Sequence[str]
) -> Knockout:
    """Circuit and model without the parts `names`."""
    gone = edges_of(parts, names)
    ours = value_of(bench, scale.metric, circuit.edges - gone)
    whole = value_of(bench, scale.metric, circuit.topology.edge_set - gone)
    return Knockout(tuple(names), ours, whole, abs(ours - whole) / scale.span)
