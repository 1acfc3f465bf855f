"""Completeness: what is left out of a circuit should not matter, also once parts of it are gone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation.faithfulness import Scale, values_of
from acdc_pipeline.evaluation.parts import Parts, mask_without, random_halves
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
    bench: Bench,
    scale: Scale,
    circuit: Circuit,
    parts: Parts,
    *,
    draws: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
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
        advance: called with the number of forwards done since the last call, two for every K.
    """
    rng = random.Random(f"completeness {seed}")
    sets = [(), *((name,) for name in parts), *random_halves(parts, n=draws, rng=rng)]
    return knock_out(bench, scale, circuit, parts, list(dict.fromkeys(sets)), advance)


def knock_out(
    bench: Bench,
    scale: Scale,
    circuit: Circuit,
    parts: Parts,
    sets: Sequence[tuple[str, ...]],
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Knockout, ...]:
    """Circuit and model without each of several sets of parts.

    `advance` is called with the number of forwards done since the last call; there are two a set.
    """
    whole = [mask_without(circuit.topology, parts, names) for names in sets]
    own = circuit.topology.edge_mask(circuit.edges)
    ours = values_of(bench, scale.metric, (own & left for left in whole), advance)
    models = values_of(bench, scale.metric, whole, advance)
    return tuple(
        Knockout(names, mine, model, abs(mine - model) / scale.span)
        for names, mine, model in zip(sets, ours, models, strict=True)
    )
