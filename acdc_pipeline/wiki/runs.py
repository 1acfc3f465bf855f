"""What the site is made from: every whole run of a store, with its circuit and its head scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from acdc_pipeline.errors import AcdcError, DamagedRun, InvalidInput
from acdc_pipeline.graph import Topology
from acdc_pipeline.json_text import read_json
from acdc_pipeline.specs import RunSpec, sha256_of
from acdc_pipeline.store import Store, layout, open_store, schemas
from acdc_pipeline.store.decode import metrics_of
from acdc_pipeline.store.parquet import read_parquet
from acdc_pipeline.wiki.manifest import digest_of
from acdc_pipeline.wiki.profile import Profile, profile_from
from acdc_pipeline.wiki.scores import Score, score_grids
from acdc_pipeline.wiki.workers import carried_out

# An object store answers in tens of milliseconds however little is asked of it.
_REQUESTS_AT_ONCE = 32

_FEW_RUNS = 300
"""Up to here a second process costs more than it saves."""

_RUNS_AT_A_TIME = 50

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
    jobs: int = 1,
    listener: Callable[[int, int], None] = lambda done, total: None,
    environment: Mapping[str, str] = os.environ,
) -> Gathered:
    """Reads every run of `store`; what is damaged is left out and reported.

    Args:
        store: where the runs are.
        jobs: processes that read a store on disk, if it is large.
        listener: hears how many of how many runs are read.
        environment: `SOURCE_DATE_EPOCH` in it decides the date of the site.

    Raises:
        StoreError: the store cannot be read.
        ExecutionFailed: a process that reads was killed.
    """
    run_ids = store.run_ids()
    found: list[Run | DamagedRun] = []
    for some in _read(store, run_ids, jobs):
        found += some
        listener(len(found), len(run_ids))
    found.sort(key=_place)
    return Gathered(
        store.url,
        tuple(item for item in found if isinstance(item, Run)),
        tuple(item for item in found if isinstance(item, DamagedRun)),
        _newest(store, environment),
    )


def _read(store: Store, run_ids: Sequence[str], jobs: int) -> Iterator[Sequence[Run | DamagedRun]]:
    """The runs, a few at a time, in any order."""
    folder = store.place.folder
    if folder is None:
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            yield from ((item,) for item in pool.map(partial(_run_or_damage, store), run_ids))
    elif jobs == 1 or len(run_ids) < _FEW_RUNS:
        yield from ((_run_or_damage(store, run_id),) for run_id in run_ids)
    else:
        parts = [
            (str(folder), run_ids[start : start + _RUNS_AT_A_TIME])
            for start in range(0, len(run_ids), _RUNS_AT_A_TIME)
        ]
        yield from (some for _, some in carried_out(_read_part, parts, jobs))


def _read_part(part: tuple[str, Sequence[str]]) -> list[Run | DamagedRun]:
    folder, run_ids = part
    store = open_store(folder)
    return [_run_or_damage(store, run_id) for run_id in run_ids]


def _run_or_damage(store: Store, run_id: str) -> Run | DamagedRun:
    try:
        return _run(store, run_id)
    except DamagedRun as damage:
        return damage


def _place(item: Run | DamagedRun) -> str:
    """Runs in the order of their ids, damaged ones in that of what they say."""
    return item.run_id if isinstance(item, Run) else str(item)


def _run(store: Store, run_id: str) -> Run:
    """Raises DamagedRun."""
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


def _newest(store: Store, environment: Mapping[str, str]) -> date | None:
    """The day of the newest commit marker, in UTC, unless the environment names another."""
    if epoch := environment.get("SOURCE_DATE_EPOCH"):
        try:
            return datetime.fromtimestamp(int(epoch), UTC).date()
        except (ValueError, OverflowError, OSError):
            raise InvalidInput(
                f"'{epoch}' is no moment",
                field="SOURCE_DATE_EPOCH",
                allowed="seconds since 1970, or not set",
            ) from None
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
