"""What the site is made from: every whole run of a store, with its circuit and its head scores."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import pyarrow as pa
from pydantic import ValidationError

from acdc_pipeline.errors import AcdcError, DamagedRun, UnknownName
from acdc_pipeline.graph import Topology
from acdc_pipeline.specs import RunSpec, sha256_of
from acdc_pipeline.store import Store, layout, schemas
from acdc_pipeline.store.parquet import read_parquet
from acdc_pipeline.wiki.profile import Profile, profile_from
from acdc_pipeline.wiki.scores import Score, score_grids

_T = TypeVar("_T")

# An object store answers in tens of milliseconds however little is asked of it.
_REQUESTS_AT_ONCE = 32

_TIMES = ("mtime", "LastModified", "updated", "last_modified")
"""What file systems call the time at which a file was written."""


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
    """One run, as the site needs it.

    Args:
        run_id: its name in the store.
        spec: what was run.
        shape: the full graph; None where the run finds no circuit.
        edges: the circuit; None where the run finds none.
        edges_total: edges of the full graph.
        metrics: metrics of the circuit by name.
        details: what else `run.json` says.
        code_version: version of the package that wrote it.
        scores: scores of heads by metric; empty where there are none.
        profile: what else a profile run keeps; None for all others.
    """

    run_id: str
    spec: RunSpec
    shape: Topology | None
    edges: tuple[KeptEdge, ...] | None
    edges_total: int | None
    metrics: Mapping[str, float]
    details: Mapping[str, Any]
    code_version: str
    scores: Mapping[str, Score]
    profile: Profile | None = None


@dataclass(frozen=True)
class Gathered:
    """Everything a store holds.

    Args:
        url: the store, as people know it.
        runs: every whole run, in the order of ids.
        damaged: what is wrong with each of the others.
        newest: the day on which the newest run was stored; None where nobody knows.
    """

    url: str
    runs: tuple[Run, ...]
    damaged: tuple[DamagedRun, ...]
    newest: date | None

    @property
    def version(self) -> str:
        """Twelve digits that change with every run that comes or goes."""
        return sha256_of([run.run_id for run in self.runs])[:12]


def gather(
    store: Store,
    environment: Mapping[str, str] = os.environ,
    listener: Callable[[int, int], None] = lambda done, total: None,
) -> Gathered:
    """Reads every run of `store`; what is damaged is left out and reported.

    Args:
        store: where the runs are.
        environment: `SOURCE_DATE_EPOCH` in it decides the date of the site.
        listener: hears how many of how many runs are read.

    Raises:
        StoreError: the store cannot be read.
    """
    run_ids = store.run_ids()
    done = 0

    def read(run_id: str) -> Run | DamagedRun:
        nonlocal done
        try:
            return _run(store, run_id)
        except DamagedRun as damage:
            return damage
        finally:
            done += 1
            listener(done, len(run_ids))

    found = _each(store, read, run_ids)
    return Gathered(
        store.url,
        tuple(item for item in found if isinstance(item, Run)),
        tuple(item for item in found if isinstance(item, DamagedRun)),
        _newest(store, environment),
    )


def _each(store: Store, function: Callable[[str], _T], run_ids: Iterable[str]) -> list[_T]:
    if store.place.folder is not None:
        return [function(run_id) for run_id in run_ids]
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        return list(pool.map(function, run_ids))


def _run(store: Store, run_id: str) -> Run:
    """Raises DamagedRun."""
    try:
        document = json.loads(store.read_file(run_id, layout.RUN))
        topology = document["topology"]
        heads = _optional(store, run_id, layout.HEADS)
        profile = _optional(store, run_id, layout.PROFILE)
        return Run(
            run_id=run_id,
            spec=RunSpec.from_plain(document["spec"]),
            shape=None if topology is None else Topology(**topology),
            edges=None if topology is None else _edges(store.read_file(run_id, layout.GRAPH)),
            edges_total=document["edges_total"],
            metrics=document["metrics"],
            details=document["details"],
            code_version=str(document["code_version"]),
            scores={} if heads is None else _scores(heads),
            profile=None if profile is None else profile_from(json.loads(profile)),
        )
    except DamagedRun:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ValidationError,
        pa.ArrowException,
        OSError,
        AcdcError,
    ) as error:
        problem = error.problem if isinstance(error, AcdcError) else repr(error)
        raise DamagedRun(f"files do not make a run: {problem}", where=f"run {run_id}") from error


def _optional(store: Store, run_id: str, name: str) -> bytes | None:
    try:
        return store.read_file(run_id, name)
    except UnknownName:
        return None


def _edges(graph: bytes) -> tuple[KeptEdge, ...]:
    return tuple(
        KeptEdge(str(e["source"]), str(e["target"]), str(e["key"]), e.get("score"))
        for e in json.loads(graph)["edges"]
    )


def _scores(data: bytes) -> dict[str, Score]:
    table = read_parquet(data)
    missing = set(schemas.HEADS.names) - set(table.schema.names)
    if missing:
        raise DamagedRun(f"lacks {', '.join(sorted(missing))}", field=layout.HEADS)
    return score_grids(table)


def _newest(store: Store, environment: Mapping[str, str]) -> date | None:
    """The day of the newest commit marker, in UTC, unless the environment names another."""
    if epoch := environment.get("SOURCE_DATE_EPOCH"):
        return datetime.fromtimestamp(int(epoch), UTC).date()
    listing = store.place.fs.find(store.place.path(layout.RUNS), detail=True)
    times = [
        _seconds(info.get(name))
        for path, info in dict(listing).items()
        if str(path).endswith(f"/{layout.MARKER}")
        for name in _TIMES
        if info.get(name) is not None
    ]
    return datetime.fromtimestamp(max(times), UTC).date() if times else None


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.timestamp() if isinstance(value, datetime) else float(value)
