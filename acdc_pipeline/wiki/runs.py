"""One run of a store, as the site needs it: its circuit, its head scores, its profile."""

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
from pydantic import ValidationError

from acdc_pipeline.errors import AcdcError, DamagedRun, InvalidInput
from acdc_pipeline.graph import Topology
from acdc_pipeline.json_text import read_json
from acdc_pipeline.specs import RunSpec, sha256_of
from acdc_pipeline.store import Evaluations, Figures, Store, figures_of, layout, open_store
from acdc_pipeline.store.codec import metrics_of, read_parquet
from acdc_pipeline.wiki.output import digest_of
from acdc_pipeline.wiki.processes import carried_out
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
    missing = set(tables.HEADS.names) - set(table.schema.names)
    if missing:
        raise DamagedRun(f"lacks {', '.join(sorted(missing))}", field=layout.HEADS)
    return score_grids(table)


# An object store answers in tens of milliseconds however little is asked of it.
_REQUESTS_AT_ONCE = 32

_FEW_RUNS = 300
"""Up to here a second process costs more than it saves."""

_RUNS_AT_A_TIME = 50


@dataclass(frozen=True)
class Known:
    """A run that was read before.

    Args:
        files: what a listing said of its files then.
        run: its summary.
    """

    files: str
    run: Run


@dataclass(frozen=True)
class Gathered:
    """Everything a store holds.

    Args:
        url: the store, as people know it.
        runs: a summary of every whole run, in the order of ids.
        damaged: what is wrong with each of the others, and with evaluations that are damaged.
        newest: the day on which the newest run was stored; None where nobody knows.
        files: what the listing said of the files of each run, by id.
        read: how many runs were read; the others were known.
    """

    url: str
    runs: tuple[Run, ...]
    damaged: tuple[DamagedRun, ...]
    newest: date | None
    files: Mapping[str, str] = field(default_factory=dict)
    read: int = 0

    @property
    def version(self) -> str:
        """Twelve digits that change with every run that comes or goes."""
        return sha256_of([run.run_id for run in self.runs])[:12]

    @property
    def known(self) -> dict[str, Known]:
        """What the next build need not read, by id."""
        return {run.run_id: Known(self.files[run.run_id], run) for run in self.runs}


def gather(
    store: Store,
    jobs: int = 1,
    listener: Callable[[int, int], None] = lambda done, total: None,
    environment: Mapping[str, str] = os.environ,
    known: Mapping[str, Known] | None = None,
) -> Gathered:
    """Every run of `store`; what is damaged is left out and reported.

    Args:
        store: where the runs are.
        jobs: processes that read a store on disk, if it is large.
        listener: hears how many of how many runs are read.
        environment: `SOURCE_DATE_EPOCH` in it decides the date of the site.
        known: runs that were read before, by id; one whose files have another size or time since
            is read again.

    Raises:
        StoreError: the store cannot be read.
        ExecutionFailed: a process that reads was killed.
    """
    states = store.states()
    same = {
        run_id: before.run
        for run_id, before in (known or {}).items()
        if run_id in states and states[run_id].files == before.files
    }
    new = [run_id for run_id in states if run_id not in same]
    found: list[Run | DamagedRun] = list(same.values())
    for some in _read(store, new, jobs):
        found += some
        listener(len(found), len(states))
    found.sort(key=_place)
    evaluated = store.evaluations(states)
    return Gathered(
        url=store.url,
        runs=tuple(_with_figures(item, evaluated) for item in found if isinstance(item, Run)),
        damaged=(*(item for item in found if isinstance(item, DamagedRun)), *evaluated.damaged),
        newest=_newest((state.committed for state in states.values()), environment),
        files={run_id: state.files for run_id, state in states.items()},
        read=len(new),
    )


def read_whole(store: Store, run_ids: Sequence[str]) -> list[Run]:
    """These runs with everything in them. Raises DamagedRun."""
    if store.folder is not None:
        return [read_run(store, run_id) for run_id in run_ids]
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        return list(pool.map(partial(read_run, store), run_ids))


def _read(store: Store, run_ids: Sequence[str], jobs: int) -> Iterator[Sequence[Run | DamagedRun]]:
    """Summaries of the runs, a few at a time, in any order."""
    folder = store.folder
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
        return summary_of(read_run(store, run_id))
    except DamagedRun as damage:
        return damage


def _with_figures(run: Run, evaluated: Evaluations) -> Run:
    """`run` with what was measured of it by now, whatever was known of it before."""
    return replace(run, figures=figures_of(evaluated.by_run.get(run.run_id, ())))


def _place(item: Run | DamagedRun) -> str:
    """Runs in the order of their ids, damaged ones in that of what they say."""
    return item.run_id if isinstance(item, Run) else str(item)


def _newest(times: Iterable[float | None], environment: Mapping[str, str]) -> date | None:
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
    written = [time for time in times if time is not None]
    return datetime.fromtimestamp(max(written), UTC).date() if written else None
