"""Minimality: every part of a circuit should matter somewhere."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation.faithfulness import Scale, values_of
from acdc_pipeline.evaluation.parts import Parts, mask_without, random_halves
from acdc_pipeline.graph import Circuit

LEAST = 0.01
"""Of |m(G) - m(∅)|: a part that matters less than this is superfluous (Wang et al. 2022)."""


@dataclass(frozen=True)
class Need:
    """How much one part of a circuit matters.

    Args:
        part: v, by name.
        score: the largest |F(C \\ (K ∪ {v})) - F(C \\ K)| that was found, as a share of
            |m(G) - m(∅)|. Higher means more needed.
        without: the K at which it was found; often nothing.
    """

    part: str
    score: float
    without: tuple[str, ...]


def minimality(
    bench: Bench,
    scale: Scale,
    circuit: Circuit,
    parts: Parts,
    *,
    draws: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Need, ...]:
    """How much each part matters in the circuit (Wang et al. 2022).

    The minimality criterion of "Interpretability in the Wild" (arXiv 2211.00593, section 4.2): for
    every v in C there should be a K in C \\ {v} for which |F(C \\ (K ∪ {v})) - F(C \\ K)| is large.
    The paper chooses K by hand; here it is nothing and `draws` random halves of the other parts,
    so a score is a lower bound.

    Args:
        bench: the model at work on the prompts.
        scale: the metric F and its ends.
        circuit: C.
        parts: its parts.
        draws: how many random sets K, the same for every part.
        seed: of those.
        advance: called with the number of forwards done since the last call.
    """
    rng = random.Random(f"minimality {seed}")
    sets = list(dict.fromkeys([(), *random_halves(parts, n=draws, rng=rng)]))
    others = {
        part: [tuple(name for name in names if name != part) for names in sets] for part in parts
    }
    gone = [frozenset(names) for part in parts for names in others[part]]
    gone += [frozenset((*names, part)) for part in parts for names in others[part]]
    distinct = list(dict.fromkeys(gone))
    own, topology = circuit.topology.edge_mask(circuit.edges), circuit.topology
    masks = (own & mask_without(topology, parts, names) for names in distinct)
    value = dict(zip(distinct, values_of(bench, scale.metric, masks, advance), strict=True))
    out = []
    for part in parts:
        scores = {
            names: abs(value[frozenset((*names, part))] - value[frozenset(names)]) / scale.span
            for names in others[part]
        }
        most = max(scores, key=lambda names: scores[names])
        out.append(Need(part, scores[most], most))
    return tuple(out)
