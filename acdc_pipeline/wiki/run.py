"""One run of a store, as the site needs it: its circuit, its head scores, its profile."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from acdc_pipeline.errors import AcdcError, DamagedRun
from acdc_pipeline.graph import Topology
from acdc_pipeline.json_text import read_json
from acdc_pipeline.specs import RunSpec, sha256_of
from acdc_pipeline.store import Figures, Store, layout, schemas
from acdc_pipeline.store.decode import metrics_of
from acdc_pipeline.store.parquet import read_parquet
from acdc_pipeline.wiki.manifest import digest_of
from acdc_pipeline.wiki.profile import Profile, checked, profile_from
from acdc_pipeline.wiki.scores import Score, score_grids

MALFORMED = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ValidationError,
    pa.ArrowException,
    zlib.error,
    OSError,
    AcdcError,
)
"""What content of an unexpected form leads to."""


@dataclass(frozen=True, slots=True)
class KeptEdge:
    """An edge of a circuit: names of its ends, its slot (`""` where there is none), its score."""

    src: str
    dst: str
    slot: str
    score: float | None

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same edge in another circuit."""
        return self.src, self.dst, self.slot


@dataclass(frozen=True)
class Run:
    """One run, whole or as `summary_of` leaves it.

    Args:
        run_id: its name in the store.
        digest: of the files that were read.
        measured: of those about heads.
        spec: what was run.
        shape: the full graph; None where the run finds no circuit.
        edges: the circuit; None where the run finds none.
        edges_total: edges of the full graph.
        metrics: metrics of the circuit by name.
        details: what else `run.json` says.
        code_version: version of the package that wrote it.
        scores: scores of heads by metric; empty where there are none.
        profile: what else a profile run keeps; None for all others.
        figures: what was measured of its circuit later, beside the run; empty where nothing was.
    """

    run_id: str
    digest: str
    measured: str
    spec: RunSpec
    shape: Topology | None
    edges: tuple[KeptEdge, ...] | None
    edges_total: int | None
    metrics: Mapping[str, float]
    details: Mapping[str, Any]
    code_version: str
    scores: Mapping[str, Score]
    profile: Profile | None = None
    figures: Figures = field(default_factory=Figures)

    @property
    def shown(self) -> str:
        """Changes with everything that pages show of the run."""
        return f"{self.digest} {sha256_of(self.figures.document)}"


def read_run(store: Store, run_id: str) -> Run:
    """A run with everything in it, every byte verified. Raises DamagedRun, also if it is gone."""
    try:
        files = store.read_present(run_id, (layout.RUN, layout.GRAPH, layout.HEADS, layout.PROFILE))
        document = read_json(files[layout.RUN])
        topology = document["topology"]
        heads, profile = files.get(layout.HEADS), files.get(layout.PROFILE)
        return Run(
            run_id=run_id,
            digest=digest_of(*files.values()),
            measured=digest_of(heads or b"", profile or b""),
            spec=RunSpec.from_plain(document["spec"]),
            shape=None if topology is None else Topology(**topology),
            edges=None if topology is None else _edges(files[layout.GRAPH]),
            edges_total=document["edges_total"],
            metrics=metrics_of(document),
            details=document["details"],
            code_version=str(document["code_version"]),
            scores={} if heads is None else _scores(heads),
            profile=None if profile is None else profile_from(profile),
        )
    except DamagedRun:
        raise
    except MALFORMED as error:
        problem = error.problem if isinstance(error, AcdcError) else repr(error)
        raise DamagedRun(f"files do not make a run: {problem}", where=f"run {run_id}") from error


def summary_of(run: Run) -> Run:
    """What the whole site needs of a run: no tokens, attention and texts, scores to 7 digits.

    The rest is read again where pages about the model are written. Like this a large store fits
    into memory, and into a file beside the site.

    Raises:
        DamagedRun: what is left out cannot be shown on a page.
    """
    return replace(
        run,
        scores={metric: _rounded(score) for metric, score in run.scores.items()},
        profile=None if run.profile is None else replace(checked(run.profile), document={}),
    )


def _rounded(score: Score) -> Score:
    values, low, high = (
        grid.astype(np.float32).astype(np.float64) for grid in (score.values, score.low, score.high)
    )
    return replace(score, values=values, low=low, high=high)


def _edges(graph: bytes) -> tuple[KeptEdge, ...]:
    return tuple(
        KeptEdge(str(e["source"]), str(e["target"]), str(e["key"]), e.get("score"))
        for e in read_json(graph)["edges"]
    )


def _scores(data: bytes) -> dict[str, Score]:
    table = read_parquet(data)
    missing = set(schemas.HEADS.names) - set(table.schema.names)
    if missing:
        raise DamagedRun(f"lacks {', '.join(sorted(missing))}", field=layout.HEADS)
    return score_grids(table)
