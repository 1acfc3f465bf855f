"""The faithfulness curve of what a run found, and which runs belong to one curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation import (
    Point,
    Scale,
    circuits_at_fractions,
    circuits_from_scores,
    curve,
)
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.cut import Rank
from acdc_pipeline.specs import RunSpec
from acdc_pipeline.specs.base import canonical_json
from acdc_pipeline.store import Store

SIZES = ("threshold", "share", "edges")
"""Parameters that decide how large a circuit is, and nothing else about a search."""


def curve_of(
    bench: Bench,
    scale: Scale,
    circuit: Circuit,
    family: Sequence[Circuit],
    rank: Rank,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Point, ...]:
    """The curve of a circuit whose scores, or whose `family`, say what smaller ones look like.

    Empty where neither does.
    """
    topology = circuit.topology
    if circuit.scores.keys() == topology.edge_set:
        return curve(bench, scale, circuits_from_scores(topology, circuit.scores, rank), advance)
    if not family:
        return ()
    return curve(bench, scale, circuits_at_fractions(topology, [circuit, *family]), advance)


def family_of(run: RunSpec) -> str:
    """What runs have in common that are one search at several sizes: the key of a curve."""
    plain: dict[str, Any] = run.plain()
    method = {name: value for name, value in plain["method"].items() if name not in SIZES}
    return canonical_json({**plain, "method": method, "task": None, "model": None})


def circuits_of_family(store: Store, run: RunSpec) -> list[Circuit]:
    """What the runs of the same search as `run` found that are in `store`, `run` itself included.

    Raises what `Store.get` raises.
    """
    family = family_of(run)
    names = [s.run_id for s in store.summaries() if family_of(s.spec) == family]
    return [found for name in names if (found := store.get(name).circuit) is not None]
