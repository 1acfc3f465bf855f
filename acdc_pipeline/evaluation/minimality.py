"""Minimality: every part of a circuit should matter somewhere."""

from __future__ import annotations

import random
from dataclasses import dataclass

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation.faithfulness import Known, Scale, measure_values
from acdc_pipeline.evaluation.measure import Advance
from acdc_pipeline.evaluation.parts import Parts, mask_without, random_halves
from acdc_pipeline.graph import Circuit


@dataclass(frozen=True)
class PartScore:
    """The minimality score of a part of a circuit.

    Args:
        part: v, by name.
        score: the largest |F(C \\ (K ∪ {v})) - F(C \\ K)| found, as a share of |m(G) - m(∅)|.
            Higher means more needed; a part below 0.01 is superfluous (Wang et al. 2022).
        without: the K at which it was found; often empty.
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
    advance: Advance = lambda _: None,
    known: Known | None = None,
) -> tuple[PartScore, ...]:
    """Return the minimality score of each part (Wang et al. 2022).

    The minimality criterion of "Interpretability in the Wild" (arXiv 2211.00593, section 4.2): for
    every v in C there should be a K in C \\ {v} for which |F(C \\ (K ∪ {v})) - F(C \\ K)| is large.
    The paper chooses K by hand; here it is the empty set and `draws` random halves of the other
    parts, the same for every part, so a score is a lower bound. F is the metric of `scale`, C the
    circuit.

    Args:
        known: see `measure_values`.
    """
    rng = random.Random(f"minimality {seed}")
    sets = list(dict.fromkeys([(), *random_halves(parts, n=draws, rng=rng)]))
    others = {
        part: [tuple(name for name in names if name != part) for names in sets] for part in parts
    }
    removed = [frozenset(names) for part in parts for names in others[part]]
    removed += [frozenset((*names, part)) for part in parts for names in others[part]]
    distinct = list(dict.fromkeys(removed))
    own, topology = circuit.topology.edge_mask(circuit.edges), circuit.topology
    masks = (own & mask_without(topology, parts, names) for names in distinct)
    measured = measure_values(bench, scale.metric, masks, advance, known)
    value = dict(zip(distinct, measured, strict=True))
    out = []
    for part in parts:
        scores = {
            names: abs(value[frozenset((*names, part))] - value[frozenset(names)]) / scale.span
            for names in others[part]
        }
        most = max(scores, key=lambda names: scores[names])
        out.append(PartScore(part, scores[most], most))
    return tuple(out)
