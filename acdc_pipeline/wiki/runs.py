"""The runs of a store, as the site needs them: circuits, head scores and profiles."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from acdc_pipeline.errors import AcdcError, DamagedRun, InvalidInput
from acdc_pipeline.graph import Topology
from acdc_pipeline.graph.consensus import Consensus
from acdc_pipeline.specs import RunSpec, sha256_of
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.store import Figures, Store, figures_of, layout, open_store, tables
from acdc_pipeline.store.codec import metrics_of, read_parquet
from acdc_pipeline.wiki.natural import TextProfile, check_text_profile, parse_text_profile
from acdc_pipeline.wiki.output import digest_of
from acdc_pipeline.wiki.processes import map_in_processes
from acdc_pipeline.wiki.profile import Profile, check_examples, parse_profile
from acdc_pipeline.wiki.scores import INTERVAL_BITS, Score, read_scores, round_to_bits

MALFORMED = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    pa.ArrowException,
    zlib.error,
    OSError,
    AcdcError,
)
"""Errors raised by content of an unexpected form."""

_CONCURRENT_REQUESTS = 32
"""Requests to an object store at once: each takes tens of milliseconds, however small."""

_FEW_RUNS = 300
"""Up to this number of runs, starting a second process takes longer than it saves."""

_RUNS_PER_BATCH = 50


@dataclass(frozen=True, slots=True)
class KeptEdge:
    """An edge of a circuit: names of its ends, slot and span (`""` where there is none), score."""

    src: str
    dst: str
    slot: str
    score: float | None
    span: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """Source, destination and slot; in a graph with spans, the span as well."""
        ends = self.src, self.dst, self.slot
        return (*ends, self.span) if self.span else ends


@dataclass(frozen=True)
class Run:
    """One run, in full or as `summarize` leaves it.

    Args:
        digest: digest of the files read.
        measured: digest of the files about heads.
        shape: full graph; None for a run without a circuit.
        edges: edges of the circuit; None for a run without one.
        details, code_version: from `run.json`.
        profile: None for other than profile runs.
        consensus: what several searches agree on; None for one alone.
        text: what heads do on ordinary text; None for other runs, and in a summary.
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
    consensus: Consensus | None = None
    text: TextProfile | None = None

    @property
    def content_digest(self) -> str:
        return f"{self.digest} {sha256_of(self.figures.document)}"


@dataclass(frozen=True)
class CachedRun:
    """Summary of a run read by an earlier build, and the store's listing of its files then."""

    files: str
    run: Run


@dataclass(frozen=True)
class StoreContents:
    """All runs of a store.

    Args:
        runs: summaries of the intact runs, in the order of ids.
        damaged: the problem of each damaged run or evaluation.
        newest: date of the newest run; None where unknown.
        files: the store's listing of the files of each run, by id.
        dates: date of each run by id, without those of unknown date.
        runs_read: number of runs read from the store; the others were cached.
    """

    url: str
    runs: tuple[Run, ...]
    damaged: tuple[DamagedRun, ...]
    newest: date | None
    files: Mapping[str, str] = field(default_factory=dict)
    dates: Mapping[str, date] = field(default_factory=dict)
    runs_read: int = 0

    @property
    def version(self) -> str:
        """Twelve hex digits that stand for the set of runs."""
        return version_of(run.run_id for run in self.runs)

    @property
    def cached(self) -> dict[str, CachedRun]:
        """The runs for the cache of the next build, by id."""
        return {run.run_id: CachedRun(self.files[run.run_id], run) for run in self.runs}


def read_store(
    store: Store,
    jobs: int = 1,
    listener: Callable[[int, int], None] = lambda done, total: None,
    environment: Mapping[str, str] = os.environ,
    cached: Mapping[str, CachedRun] | None = None,
) -> StoreContents:
    """Read every run of a store; damaged runs are left out and reported.

    Args:
        jobs: number of processes that read a large store on disk.
        environment: environment variables; `SOURCE_DATE_EPOCH` sets the date of the site.
        cached: runs read by an earlier build, by id; a run is read again if the size or the time
            of one of its files changed.

    Raises:
        StoreError: the store cannot be read.
        ExecutionFailed: a worker process was killed.
    """
    states = store.states()
    same = {
        run_id: before.run
        for run_id, before in (cached or {}).items()
        if run_id in states and states[run_id].files == before.files
    }
    new = [run_id for run_id in states if run_id not in same]
    found: list[Run | DamagedRun] = list(same.values())
    for batch in _read_summaries(store, new, jobs):
        found += batch
        listener(len(found), len(states))
    evaluated = store.evaluations(states)
    times = {run_id: state.committed for run_id, state in states.items()}
    dates = _dates(times, environment)
    intact = (item for item in found if isinstance(item, Run))
    runs = sorted(intact, key=lambda run: run.run_id)
    damaged = sorted((item for item in found if isinstance(item, DamagedRun)), key=str)
    return StoreContents(
        url=store.url,
        # evaluations may have been added since a run was cached
        runs=tuple(
            replace(run, figures=figures_of(evaluated.by_run.get(run.run_id, ()))) for run in runs
        ),
        damaged=(*damaged, *evaluated.damaged),
        newest=max(dates.values(), default=None),
        dates=dates,
        files={run_id: state.files for run_id, state in states.items()},
        runs_read=len(new),
    )


def read_run(store: Store, run_id: str) -> Run:
    """Read a run in full and verify every byte. Raises DamagedRun if it is damaged or missing."""
    try:
        wanted = layout.RUN, layout.GRAPH, layout.HEADS, layout.PROFILE, layout.CONSENSUS
        files = store.read_present(run_id, (*wanted, layout.TEXT))
        document = read_json(files[layout.RUN])
        topology = document["topology"]
        heads, profile = files.get(layout.HEADS), files.get(layout.PROFILE)
        agreed, text = files.get(layout.CONSENSUS), files.get(layout.TEXT)
        spec = RunSpec.from_plain(document["spec"])
        return Run(
            run_id=run_id,
            digest=digest_of(*files.values()),
            measured=digest_of(heads or b"", profile or b""),
            spec=spec,
            shape=None if topology is None else Topology.from_dict(topology),
            edges=None if topology is None else _read_edges(files[layout.GRAPH]),
            edges_total=document["edges_total"],
            metrics=metrics_of(document),
            details=document["details"],
            code_version=str(document["code_version"]),
            scores={} if heads is None else _read_heads(heads),
            profile=None if profile is None else parse_profile(profile),
            consensus=None if agreed is None else Consensus.from_dict(read_json(agreed)),
            text=None if text is None else parse_text_profile(text, spec.task),
        )
    except DamagedRun:
        raise
    except MALFORMED as error:
        problem = error.problem if isinstance(error, AcdcError) else repr(error)
        raise DamagedRun(f"files do not make a run: {problem}", where=f"run {run_id}") from error


def read_full_runs(store: Store, run_ids: Sequence[str]) -> list[Run]:
    """Read runs in full. Raises DamagedRun."""
    if store.folder is not None:
        return [read_run(store, run_id) for run_id in run_ids]
    with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as pool:
        return list(pool.map(partial(read_run, store), run_ids))


def summarize(run: Run) -> Run:
    """Reduce a run to what the whole site needs: no examples of heads, scores in single precision.

    The rest is read again when the pages of its model are written. Summaries of a large store fit
    into memory and into the cache. Raises DamagedRun if an example of a head is malformed.
    """
    profile = run.profile
    if profile is not None:
        check_examples(profile)
        profile = replace(profile, document={})
    if run.text is not None:
        check_text_profile(run.text)
    scores = {
        metric: replace(
            score,
            low=round_to_bits(score.low, INTERVAL_BITS),
            high=round_to_bits(score.high, INTERVAL_BITS),
        ).map_grids(lambda grid: grid.astype(np.float32).astype(np.float64))
        for metric, score in run.scores.items()
    }
    return replace(run, scores=scores, profile=profile, text=None)


def _read_edges(graph: bytes) -> tuple[KeptEdge, ...]:
    found = []
    for edge in read_json(graph)["edges"]:
        # with positions, the key of an edge is the pair of slot and span
        key = edge["key"]
        slot, span = (key, "") if isinstance(key, str) else key
        ends = str(edge["source"]), str(edge["target"])
        found.append(KeptEdge(*ends, str(slot), edge.get("score"), str(span)))
    return tuple(found)


def _read_heads(data: bytes) -> dict[str, Score]:
    table = read_parquet(data)
    missing = set(tables.HEADS.names) - set(table.schema.names)
    if missing:
        raise DamagedRun(f"lacks {', '.join(sorted(missing))}", field=layout.HEADS)
    return read_scores(table)


def _read_summaries(
    store: Store, run_ids: Sequence[str], jobs: int
) -> Iterator[Sequence[Run | DamagedRun]]:
    """Yield summaries of the runs in batches, in any order."""
    folder = store.folder
    if folder is None:
        with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as pool:
            yield from ((item,) for item in pool.map(partial(_read_summary, store), run_ids))
    elif jobs == 1 or len(run_ids) < _FEW_RUNS:
        yield from ((_read_summary(store, run_id),) for run_id in run_ids)
    else:
        batches = [
            (str(folder), run_ids[start : start + _RUNS_PER_BATCH])
            for start in range(0, len(run_ids), _RUNS_PER_BATCH)
        ]
        yield from map_in_processes(_read_batch, batches, jobs)


def _read_batch(batch: tuple[str, Sequence[str]]) -> list[Run | DamagedRun]:
    folder, run_ids = batch
    store = open_store(folder)
    return [_read_summary(store, run_id) for run_id in run_ids]


def _read_summary(store: Store, run_id: str) -> Run | DamagedRun:
    try:
        return summarize(read_run(store, run_id))
    except DamagedRun as damage:
        return damage


def version_of(run_ids: Iterable[str]) -> str:
    """Return twelve hex digits that stand for a set of runs: a data version."""
    return sha256_of(sorted(run_ids))[:12]


def _dates(times: Mapping[str, float | None], environment: Mapping[str, str]) -> dict[str, date]:
    """Return the date (UTC) of each commit marker; the environment may set one for all runs."""
    if epoch := environment.get("SOURCE_DATE_EPOCH"):
        try:
            return dict.fromkeys(times, datetime.fromtimestamp(int(epoch), UTC).date())
        except (ValueError, OverflowError, OSError):
            raise InvalidInput(
                f"'{epoch}' is not a time",
                field="SOURCE_DATE_EPOCH",
                allowed="seconds since 1970, or not set",
            ) from None
    return {
        run_id: datetime.fromtimestamp(time, UTC).date()
        for run_id, time in times.items()
        if time is not None
    }
