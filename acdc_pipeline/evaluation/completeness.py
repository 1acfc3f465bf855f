"""Completeness: circuit and model should agree when the same parts are removed from both."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation.faithfulness import Known, Scale, measure_values
from acdc_pipeline.evaluation.measure import Advance
from acdc_pipeline.evaluation.parts import Parts, mask_without, random_halves
from acdc_pipeline.graph import Circuit

CANDIDATES = 10
"""Number of parts tried at each step of a search."""

MAX_STEPS = 10


@dataclass(frozen=True)
class Knockout:
    """Circuit and model without the same parts.

    Args:
        parts: K, the names of the parts removed from both.
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
    advance: Advance = lambda _: None,
    known: Known | None = None,
) -> tuple[Knockout, ...]:
    """Remove the same parts from circuit and model, and compare them (Wang et al. 2022).

    The completeness criterion of "Interpretability in the Wild" (arXiv 2211.00593, section 4.1):
    for every K in C, |F(C \\ K) - F(M \\ K)| should be small. A circuit without the model's backup
    heads can be faithful but is not complete. F is the metric of `scale`, C the circuit and M the
    whole graph. K is the empty set, each of `parts` alone, and `draws` random halves of them;
    `worst_knockouts` searches for the worst K. There are two forward passes per K.

    Args:
        known: see `measure_values`.
    """
    rng = random.Random(f"completeness {seed}")
    sets = [(), *((name,) for name in parts), *random_halves(parts, n=draws, rng=rng)]
    return knock_out(bench, scale, circuit, parts, list(dict.fromkeys(sets)), advance, known)


def knock_out(
    bench: Bench,
    scale: Scale,
    circuit: Circuit,
    parts: Parts,
    sets: Sequence[tuple[str, ...]],
    advance: Advance = lambda _: None,
    known: Known | None = None,
) -> tuple[Knockout, ...]:
    """Measure circuit and model without each of several sets of parts; `known` as there."""
    whole = [mask_without(circuit.topology, parts, names) for names in sets]
    own = circuit.topology.edge_mask(circuit.edges)
    circuits = measure_values(bench, scale.metric, (own & mask for mask in whole), advance, known)
    models = measure_values(bench, scale.metric, whole, advance, known)
    return tuple(
        Knockout(names, value, model, abs(value - model) / scale.span)
        for names, value, model in zip(sets, circuits, models, strict=True)
    )


def worst_knockouts(
    bench: Bench,
    scale: Scale,
    circuit: Circuit,
    parts: Parts,
    *,
    restarts: int,
    seed: int,
    advance: Advance = lambda _: None,
    known: Known | None = None,
) -> tuple[Knockout, ...]:
    """Search greedily, `restarts` times, for the K with the largest incompleteness.

    "Interpretability in the Wild" (Wang et al. 2022, arXiv 2211.00593, section 4.1): K starts
    empty, and each of `MAX_STEPS` steps adds, of `CANDIDATES` random parts, the one that makes
    |F(C \\ K) - F(M \\ K)| largest. The worst K visited is returned, so no result is better than
    that of the empty K. The result is a lower bound on the worst incompleteness. There are at most
    `restarts` times `count_search_forwards` forward passes.

    Args:
        known: see `measure_values`.
    """
    tried: dict[frozenset[str], Knockout] = {}

    def without(sets: Sequence[tuple[str, ...]]) -> list[Knockout]:
        new = [names for names in sets if frozenset(names) not in tried]
        found = knock_out(bench, scale, circuit, parts, new, advance, known)
        tried.update({frozenset(knockout.parts): knockout for knockout in found})
        return [tried[frozenset(names)] for names in sets]

    rng = random.Random(f"worst knockouts {seed}")
    return tuple(_search(without, list(parts), rng) for _ in range(restarts))


def count_search_forwards(n_parts: int) -> int:
    """Return the largest number of forward passes of a search: circuit and model for each set."""
    steps = min(MAX_STEPS, n_parts)
    return 2 + 2 * sum(min(CANDIDATES, n_parts - step) for step in range(steps))


def _search(
    without: Callable[[Sequence[tuple[str, ...]]], list[Knockout]],
    left: list[str],
    rng: random.Random,
) -> Knockout:
    (here,) = without([()])
    worst = here
    for _ in range(min(MAX_STEPS, len(left))):
        drawn = rng.sample(left, min(CANDIDATES, len(left)))
        tried = without([(*here.parts, name) for name in drawn])
        by_name = dict(zip(drawn, tried, strict=True))
        taken = max(by_name, key=lambda name: by_name[name].incompleteness)
        here = by_name[taken]
        left.remove(taken)
        worst = max(worst, here, key=lambda knockout: knockout.incompleteness)
    return worst
