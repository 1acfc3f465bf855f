"""Leftovers in a local folder: in `tmp/`, `checkpoints/`, `evaluations/`, `quarantine/`, trials."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from acdc_pipeline.store import layout
from acdc_pipeline.store.leftover import (
    CHECKPOINT,
    HALF_WRITTEN,
    PROBE,
    REPLACED,
    UNEVALUATED,
    Leftover,
    why_unneeded,
)
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.locks import is_held

_OF_A_RUN = re.compile(r"([0-9a-f]+)\.(?:[0-9a-f]{16}|repair)", re.ASCII)
_CHECKPOINT = re.compile(r"([0-9a-f]+)\.(?:[0-9a-f]{16}|parquet)", re.ASCII)
_ASIDE = re.compile(r"[0-9a-f]{16}\.json\.[0-9a-f]{16}", re.ASCII)
_PROBE = re.compile(r"probe\.[0-9a-f]{16}", re.ASCII)


def leftovers_in_folder(place: Place, root: Path, now: float) -> Iterator[Leftover]:
    """Everything in the store `root` that no run needs, however young."""
    for path in _attempts(root / layout.TMP):
        if is_held(path) or is_held(_lock_of(path)):
            continue
        if _PROBE.fullmatch(path.name):
            yield _item(root, path, PROBE, None, now)
            continue
        run_id = path.name.partition(".")[0]
        why = why_unneeded(place, run_id) if layout.is_run_id(run_id) else None
        if why is not None:
            yield _item(root, path, why, run_id, now)
    for path in (root / layout.RUNS).glob("probe.*"):
        if _PROBE.fullmatch(path.name):
            yield _item(root, path, PROBE, None, now)
    for path in (root / layout.CHECKPOINTS).glob("*"):
        run_id = path.name.partition(".")[0]
        if _CHECKPOINT.fullmatch(path.name) and layout.is_run_id(run_id):
            why = why_unneeded(place, run_id, CHECKPOINT)
            if why is not None:
                yield _item(root, path, why, run_id, now)
    for folder in (root / layout.EVALUATIONS).glob("*"):
        yield from _evaluations(place, root, folder, now)
    for path in (root / layout.QUARANTINE).glob("*"):
        run_id = path.name.partition(".")[0]
        if _OF_A_RUN.fullmatch(path.name) and layout.is_run_id(run_id):
            yield _item(root, path, REPLACED, run_id, now)


def _evaluations(place: Place, root: Path, folder: Path, now: float) -> Iterator[Leftover]:
    """Of the evaluations of one run: all where there is no such run, else what was cut off."""
    run_id = folder.name
    if not layout.is_run_id(run_id):
        return
    orphaned = why_unneeded(place, run_id, UNEVALUATED) == UNEVALUATED
    for path in folder.glob("*"):
        if orphaned and layout.evaluation_id_of(path.name):
            yield _item(root, path, UNEVALUATED, run_id, now)
        elif _ASIDE.fullmatch(path.name):
            yield _item(root, path, HALF_WRITTEN, run_id, now)


def remove_from_folder(root: Path, leftover: Leftover) -> None:
    """Removes it, unless a process of this machine took hold of it since."""
    path = root / leftover.path
    if is_held(path) or is_held(_lock_of(path)):
        return
    with suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if path.parent.parent == root / layout.EVALUATIONS:
        with suppress(OSError):  # gone, or holds another
            path.parent.rmdir()
    _lock_of(path).unlink(missing_ok=True)


def _attempts(tmp: Path) -> list[Path]:
    """Attempts with or without their lock files, and locks whose folder is gone."""
    names = {path.name.removesuffix(".lock") for path in tmp.glob("*")}
    return sorted(tmp / n for n in names if _OF_A_RUN.fullmatch(n) or _PROBE.fullmatch(n))


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _item(root: Path, path: Path, why: str, run_id: str | None, now: float) -> Leftover:
    stats = list(_stats([path, _lock_of(path), *path.rglob("*")]))
    # Moving a folder into quarantine changes nothing inside, but the entry of the folder itself.
    changed = max((max(s.st_mtime, s.st_ctime) for s in stats), default=now)
    size = sum(s.st_size for s in stats if stat.S_ISREG(s.st_mode))
    return Leftover(path.relative_to(root).as_posix(), why, run_id, max(0.0, now - changed), size)


def _stats(files: Iterable[Path]) -> Iterator[os.stat_result]:
    for file in files:
        with suppress(FileNotFoundError):
            yield file.stat()
