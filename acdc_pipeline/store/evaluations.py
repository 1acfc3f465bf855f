"""Evaluations in a store: `evaluations/<run_id>/<evaluation_id>.json`, each written whole.

Runs stay as they were committed: what is measured of them later lies beside them, one file for each
combination of settings. A file appears by one rename, or by one put in an object store, and seals
its own content, so a reader meets a whole evaluation or reports a damaged one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from acdc_pipeline.errors import DamagedRun
from acdc_pipeline.store import layout
from acdc_pipeline.store.durable import sync_folders, write
from acdc_pipeline.store.evaluation import StoredEvaluation, decode_evaluation, encode_evaluation
from acdc_pipeline.store.faults import commit_faults, store_faults
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.read import for_each


@dataclass(frozen=True)
class Evaluated:
    """What is kept of the evaluations of some runs.

    Args:
        by_run: those of each run that has any, the newest last.
        damaged: what is wrong with each of the others.
    """

    by_run: Mapping[str, tuple[StoredEvaluation, ...]] = field(default_factory=dict)
    damaged: tuple[DamagedRun, ...] = ()


def write_evaluation(place: Place, evaluation: StoredEvaluation) -> None:
    """Keeps `evaluation`, in place of an earlier one of the same settings.

    Raises:
        StoreFailed: the store cannot be written; what was there before is still there.
    """
    run_id = layout.checked_run_id(evaluation.run_id)
    name, data = f"{evaluation.evaluation_id}.json", encode_evaluation(evaluation)
    with commit_faults(place.url):
        if place.folder is None:
            place.fs.pipe_file(place.path(layout.EVALUATIONS, run_id, name), data)
        else:
            _write_local(place.folder / layout.EVALUATIONS / run_id, name, data)


def read_evaluation(place: Place, run_id: str, evaluation_id: str) -> StoredEvaluation | None:
    """The evaluation of that id; None where there is none.

    Raises:
        DamagedRun: it is there and cannot be read.
    """
    with store_faults(place.url):
        place.fs.invalidate_cache()
        return _read(place, layout.checked_run_id(run_id), f"{evaluation_id}.json")


def read_evaluations(place: Place, run_ids: Iterable[str] | None = None) -> Evaluated:
    """The evaluations of `run_ids`, or of all runs; of older stores, which have none, nothing.

    Damaged ones count as absent and are reported; those of another version are passed over.

    Raises:
        StoreError: the store cannot be read.
    """

    def one(path: str) -> tuple[str, StoredEvaluation | DamagedRun | None]:
        run_id, _, name = path.partition("/")
        try:
            return run_id, _read(place, run_id, name)
        except DamagedRun as damage:
            return run_id, damage

    with store_faults(place.url):
        wanted = None if run_ids is None else frozenset(run_ids)
        found = for_each(place, one, _listed(place, wanted))
    by_run: dict[str, list[StoredEvaluation]] = {}
    for run_id, item in found:
        if isinstance(item, StoredEvaluation):
            by_run.setdefault(run_id, []).append(item)
    return Evaluated(
        by_run={
            run_id: tuple(sorted(some, key=lambda e: (e.measured_at, e.evaluation_id)))
            for run_id, some in by_run.items()
        },
        damaged=tuple(item for _, item in found if isinstance(item, DamagedRun)),
    )


def _write_local(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{name}.{secrets.token_hex(8)}"
    try:
        write(aside, data)
        aside.replace(folder / name)
    finally:
        aside.unlink(missing_ok=True)
    sync_folders(folder, folder.parent)


def _read(place: Place, run_id: str, name: str) -> StoredEvaluation | None:
    try:
        data = cast("bytes", place.fs.cat_file(place.path(layout.EVALUATIONS, run_id, name)))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    return decode_evaluation(run_id, name, data)


def _listed(place: Place, wanted: frozenset[str] | None) -> list[str]:
    """The files of evaluations as `<run_id>/<name>`, in order."""
    place.fs.invalidate_cache()
    root = place.path(layout.EVALUATIONS)
    # of one run, look at nothing else
    within = place.path(layout.EVALUATIONS, *wanted) if wanted and len(wanted) == 1 else root
    found: list[str] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        found = [str(path)[len(root) :].lstrip("/") for path in place.fs.find(within)]
    parts = (path.split("/") for path in sorted(found))
    return [
        "/".join(names)
        for names in parts
        if len(names) == 2
        and layout.is_run_id(names[0])
        and layout.evaluation_id_of(names[1])
        and (wanted is None or names[0] in wanted)
    ]
