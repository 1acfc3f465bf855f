"""The parts without which circuit and model differ most, looked for greedily."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation.completeness import Knockout, knock_out
from acdc_pipeline.evaluation.faithfulness import Scale
from acdc_pipeline.evaluation.parts import Parts
from acdc_pipeline.graph import Circuit

CANDIDATES = 10
"""How many parts are tried at each step."""
LONGEST = 10
"""How many parts are taken away at most."""


def worst_knockouts(
    bench: Bench,
    scale: Scale,
    circuit: Circuit,
    parts: Parts,
    *,
    restarts: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Knockout, ...]:
    """The worst K that each of `restarts` greedy searches comes across (Wang et al. 2022).

    "Interpretability in the Wild" (arXiv 2211.00593, section 4.1) looks for the K that maximises
    |F(C \\ K) - F(M \\ K)|: K begins as nothing, and at each of `LONGEST` steps the part joins it,
    of `CANDIDATES` drawn from those left, with which that is largest. Of all K on the way the
    worst is returned, so no answer is below that of K = nothing. A lower bound, as every search
    is: the worst K of all may be another one.

    Args:
        bench: the model at work on the prompts.
        scale: the metric F and its ends.
        circuit: C.
        parts: what is removed; M stands for the whole graph.
        restarts: searches, each with draws of its own.
        seed: of those.
        advance: called with the number of forwards done since the last call; see
            `knockouts_of_a_search`.
    """
    known: dict[frozenset[str], Knockout] = {}

    def without(sets: Sequence[tuple[str, ...]]) -> list[Knockout]:
        unknown = [names for names in sets if frozenset(names) not in known]
        found = knock_out(bench, scale, circuit, parts, unknown, advance)
        known.update({frozenset(knockout.parts): knockout for knockout in found})
        return [known[frozenset(names)] for names in sets]

    rng = random.Random(f"worst knockouts {seed}")
    return tuple(_descend(without, list(parts), rng) for _ in range(restarts))


def knockouts_of_a_search(n_parts: int) -> int:
    """How many forward passes one search takes at most: circuit and model without each set."""
    steps = min(LONGEST, n_parts)
    return 2 + 2 * sum(min(CANDIDATES, n_parts - step) for step in range(steps))


def _descend(
    without: Callable[[Sequence[tuple[str, ...]]], list[Knockout]],
    left: list[str],
    rng: random.Random,
) -> Knockout:
    """One greedy search."""
    (here,) = without([()])
    worst = here
    for _ in range(min(LONGEST, len(left))):
        drawn = rng.sample(left, min(CANDIDATES, len(left)))
        tried = without([(*here.parts, name) for name in drawn])
        by_name = dict(zip(drawn, tried, strict=True))
        taken = max(by_name, key=lambda name: by_name[name].incompleteness)
        here = by_name[taken]
        left.remove(taken)
        worst = max(worst, here, key=lambda knockout: knockout.incompleteness)
    return worst
