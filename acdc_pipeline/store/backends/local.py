"""A store in a local folder: runs are written aside, made durable, and renamed into place."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import (
    CHECKPOINT,
    CLAIM,
    HALF_INDEXED,
    HALF_WRITTEN,
    NO_RUN,
    PROBE,
    REPLACED,
    Backend,
    FileInfo,
    Leftover,
)
from acdc_pipeline.store.locks import is_locked, lock, lock_new, try_lock
from acdc_pipeline.store.marker import Marker
from acdc_pipeline.store.reader import is_intact, why_unneeded
from acdc_pipeline.store.threads import all_at_once

# What a rename raises when the target is a file, or a folder that is not empty.
_TARGET_EXISTS = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)

_ATTEMPT = re.compile(rf"([0-9a-f]+\.{layout.SUFFIX})(?:\.lock)?", re.ASCII)
_OF_A_RUN = re.compile(rf"([0-9a-f]+)\.(?:{layout.SUFFIX}|repair)", re.ASCII)
_CHECKPOINT = re.compile(rf"([0-9a-f]+)\.(?:parquet|(?:parquet\.)?{layout.SUFFIX})", re.ASCII)
# of a run, also half written, or the lock file of a driver
_CLAIM = re.compile(
    rf"([0-9a-f]{{20}})\.[0-9]{{1,6}}\.json(?:\.{layout.SUFFIX})?|{layout.SUFFIX}\.lock", re.ASCII
)
_UNFINISHED_PART = re.compile(rf"[0-9]+-[0-9a-f]{{32}}\.parquet\.{layout.SUFFIX}", re.ASCII)
_UNFINISHED_EVALUATION = re.compile(rf"{layout.SUFFIX}\.json\.{layout.SUFFIX}", re.ASCII)


@dataclass(frozen=True)
class LocalBackend(Backend):
    """A local folder."""

    @property
    def folder(self) -> Path:
        return Path(self.root)

    def may_exist(self) -> bool:
        return self.folder.exists()

    def check_usable(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError("is a file, not a folder", where=self.url, fix="choose another store")

    def check_writable(self) -> None:
        """Create, rename and remove an empty folder; see `Backend.check_writable`."""
        runs, tmp = self._make_folders()
        name = layout.new_probe_name()
        (tmp / name).mkdir()
        (tmp / name).rename(runs / name)
        (runs / name).rmdir()

    def names(self, *parts: str) -> set[str]:
        try:
            # os.listdir is faster than Path.iterdir for many runs
            return set(os.listdir(self.path(*parts)))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def list_runs(self) -> dict[str, dict[str, FileInfo]]:
        return self.list_files([i for i in self.names(layout.RUNS) if layout.is_run_id(i)], 0)

    def list_files(self, run_ids: Collection[str], of: int) -> dict[str, dict[str, FileInfo]]:
        runs = self.path(layout.RUNS)
        return {run_id: dict(_files_in(f"{runs}/{run_id}")) for run_id in run_ids}

    def committed_ids(self, prefix: str = "") -> list[str]:
        runs = self.path(layout.RUNS)
        found = (i for i in self.names(layout.RUNS) if i.startswith(prefix) and layout.is_run_id(i))
        return sorted(i for i in found if os.path.exists(f"{runs}/{i}/{layout.MARKER}"))  # noqa: PTH110

    def files_of(self, marker: Marker) -> Mapping[str, FileInfo]:
        return self.list_files([marker.run_id], 1)[marker.run_id]

    def commit(self, run_id: str, files: Mapping[str, bytes]) -> Marker | None:
        """Commit a run; see `Backend.commit`.

        The run is written to `tmp/<run_id>.<attempt>/`, marker last, and appears by one rename.
        Attempts at this run whose process died are removed. A damaged run is moved to
        `quarantine/`.
        """
        runs, tmp = self._make_folders()
        self._remove_abandoned(tmp, run_id)
        if is_intact(self, run_id):
            return None
        marker = Marker.of(run_id, files)
        with _attempt_folder(tmp, run_id) as folder:
            _write_durably(folder, {**files, layout.MARKER: marker.encode()})
            committed = self._publish(run_id, folder, runs / run_id)
        if not committed:
            return None
        _sync_folders(runs, self.folder)
        return marker

    def write(self, data: bytes, *parts: str) -> None:
        target = self.folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f"{target.name}.{layout.new_suffix()}")
        _replace_durably(target, data, aside)

    def put_if_absent(self, data: bytes, *parts: str) -> bool:
        target = self.folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        return True

    def write_cache(self, data: bytes, *parts: str) -> None:
        target = self.folder.joinpath(*parts)
        aside = target.with_name(f"{target.name}.{layout.new_suffix()}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_bytes(data)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    def write_failure(self, run_id: str, data: bytes) -> None:
        tmp = self.folder / layout.TMP
        tmp.mkdir(parents=True, exist_ok=True)
        with self._failure_lock(run_id):
            for abandoned in tmp.glob(f"{run_id}.failed.*"):
                abandoned.unlink(missing_ok=True)
            aside = tmp / f"{run_id}.failed.{layout.new_suffix()}"
            _replace_durably(self.folder / layout.FAILED / run_id / layout.FAILURE, data, aside)

    def remove_failure(self, run_id: str) -> None:
        folder = self.folder / layout.FAILED / run_id
        if not folder.exists():
            return
        (self.folder / layout.TMP).mkdir(exist_ok=True)
        with self._failure_lock(run_id):
            (folder / layout.FAILURE).unlink(missing_ok=True)
            with suppress(OSError):  # gone already, or holds other files
                folder.rmdir()

    def remove_checkpoint(self, run_id: str) -> None:
        """Remove the checkpoint of a run, and what an interrupted write of it left."""
        for name in self._names_of(run_id, layout.CHECKPOINTS):
            (self.folder / layout.CHECKPOINTS / name).unlink(missing_ok=True)

    def leftovers(self, now: float) -> Iterator[Leftover]:
        for path, why, run_id in self._unneeded_paths():
            yield self._leftover(path, why, run_id, now)

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove a leftover unless a process of this machine has locked it since."""
        path = self.folder / leftover.path
        if is_locked(path) or is_locked(_lock_file(path)):
            return
        with suppress(FileNotFoundError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        if path.parent.parent == self.folder / layout.EVALUATIONS:
            with suppress(OSError):  # gone, or holds another
                path.parent.rmdir()
        _lock_file(path).unlink(missing_ok=True)

    def _names_of(self, run_id: str, folder: str) -> list[str]:
        # Path.glob compiles a regular expression for each run
        return [name for name in self.names(folder) if name.startswith(f"{run_id}.")]

    def _make_folders(self) -> tuple[Path, Path]:
        runs, tmp = self.folder / layout.RUNS, self.folder / layout.TMP
        runs.mkdir(parents=True, exist_ok=True)
        tmp.mkdir(exist_ok=True)
        return runs, tmp

    def _remove_abandoned(self, tmp: Path, run_id: str) -> None:
        """Remove attempts at this run whose process is gone: their locks went with it."""
        matches = map(_ATTEMPT.fullmatch, self._names_of(run_id, layout.TMP))
        for name in sorted({match[1] for match in matches if match}):
            with try_lock(tmp / f"{name}.lock") as acquired:
                if acquired and (tmp / name).exists():
                    shutil.rmtree(tmp / name)

    def _publish(self, run_id: str, folder: Path, target: Path) -> bool:
        if _rename(folder, target):
            return True
        # The name is taken. Only the holder of this lock moves folders away, so that the folder
        # that is moved is the one that was found damaged.
        with lock(folder.parent / f"{run_id}.repair"):
            while not is_intact(self, run_id):
                if target.exists():
                    quarantine = self.folder / layout.QUARANTINE
                    quarantine.mkdir(exist_ok=True)
                    target.rename(quarantine / f"{run_id}.{layout.new_suffix()}")
                if _rename(folder, target):
                    return True
            return False

    def _failure_lock(self, run_id: str) -> AbstractContextManager[None]:
        """Keep other processes from creating or removing the failure folder of this run."""
        return lock(self.folder / layout.TMP / f"{run_id}.failing")

    def _unneeded_paths(self) -> Iterator[tuple[Path, str, str | None]]:
        """Yield the path of each leftover, why no run needs it, and the run it belongs to."""
        tmp = self.folder / layout.TMP
        # Attempts with or without their lock files, and locks whose folder is gone.
        for name in sorted({path.name.removesuffix(".lock") for path in tmp.glob("*")}):
            path = tmp / name
            if is_locked(path) or is_locked(_lock_file(path)):
                continue
            if layout.is_probe(name):
                yield path, PROBE, None
            elif _OF_A_RUN.fullmatch(name) and (why := why_unneeded(self, _run_id(path))):
                yield path, why, _run_id(path)
        probes = (self.folder / layout.RUNS).glob("probe.*")
        yield from ((path, PROBE, None) for path in probes if layout.is_probe(path.name))
        for path in (self.folder / layout.CHECKPOINTS).glob("*"):
            run_id = _run_id(path)
            if _CHECKPOINT.fullmatch(path.name) and (why := why_unneeded(self, run_id, CHECKPOINT)):
                yield path, why, run_id
        yield from self._unneeded_evaluations()
        for path in (self.folder / layout.QUARANTINE).glob("*"):
            if _OF_A_RUN.fullmatch(path.name) and layout.is_run_id(_run_id(path)):
                yield path, REPLACED, _run_id(path)

        yield from self._unneeded_claims()
        for path in self.folder.joinpath(*layout.INDEX).glob("*"):
            if _UNFINISHED_PART.fullmatch(path.name):
                yield path, HALF_INDEXED, None

    def _unneeded_claims(self) -> Iterator[tuple[Path, str, str | None]]:
        """Yield claims, which their drivers renew while they live, and lock files of dead ones."""
        for path in (self.folder / layout.CLAIMS).glob("*"):
            if (match := _CLAIM.fullmatch(path.name)) and not is_locked(path):
                yield path, CLAIM, match[1]

    def _unneeded_evaluations(self) -> Iterator[tuple[Path, str, str]]:
        """Yield evaluations of absent runs, and interrupted writes of any evaluation."""
        for folder in (self.folder / layout.EVALUATIONS).glob("*"):
            if not layout.is_run_id(folder.name):
                continue
            no_run = why_unneeded(self, folder.name, NO_RUN) == NO_RUN
            for path in folder.glob("*"):
                if no_run and layout.evaluation_id_of(path.name):
                    yield path, NO_RUN, folder.name
                elif _UNFINISHED_EVALUATION.fullmatch(path.name):
                    yield path, HALF_WRITTEN, folder.name

    def _leftover(self, path: Path, why: str, run_id: str | None, now: float) -> Leftover:
        stats: list[os.stat_result] = []
        for file in (path, _lock_file(path), *path.rglob("*")):
            with suppress(FileNotFoundError):
                stats.append(file.stat())
        # Moving a folder into quarantine changes nothing inside, but the entry of the folder.
        changed = max((max(s.st_mtime, s.st_ctime) for s in stats), default=now)
        size = sum(s.st_size for s in stats if stat.S_ISREG(s.st_mode))
        where = path.relative_to(self.folder).as_posix()
        return Leftover(where, why, run_id, max(0.0, now - changed), size)


def _files_in(folder: str, inside: str = "") -> Iterator[tuple[str, FileInfo]]:
    """Yield the files of a run's folder, and of attempts in it, with size and times."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found = entry.stat()
                if stat.S_ISDIR(found.st_mode):
                    if not inside and layout.is_attempt(entry.name):
                        yield from _files_in(entry.path, f"{entry.name}/")
                else:
                    yield (
                        inside + entry.name,
                        {
                            "size": found.st_size,
                            "mtime": found.st_mtime,
                            "mtime_ns": found.st_mtime_ns,
                        },
                    )


def _run_id(path: Path) -> str:
    return path.name.partition(".")[0]


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _rename(folder: Path, target: Path) -> bool:
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in _TARGET_EXISTS:
            return False
        raise
    return True


@contextmanager
def _attempt_folder(tmp: Path, run_id: str) -> Iterator[Path]:
    """Create a folder in `tmp` that is locked while this process lives, and removed afterwards."""
    folder = tmp / f"{run_id}.{layout.new_suffix()}"
    with lock_new(_lock_file(folder)):
        folder.mkdir()
        try:
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder)


def _replace_durably(target: Path, data: bytes, aside: Path) -> None:
    """Write `data` to the new file `aside`, then rename it to `target`, surviving power loss."""
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # Only now: where a failure cannot be written, its folder must not stay empty.
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    _sync_folders(target.parent, target.parent.parent)


def _write_durably(folder: Path, files: Mapping[str, bytes]) -> None:
    """Create files in `folder` and wait until they and their names are on the disk."""
    with ExitStack() as stack:
        descriptors = [stack.enter_context(_open_folder(folder))]
        for name, data in files.items():
            file = stack.enter_context((folder / name).open("xb"))
            file.write(data)
            file.flush()
            descriptors.append(file.fileno())
        _sync(descriptors)


def _sync_folders(*folders: Path) -> None:
    """Wait until the names in all `folders` are on the disk."""
    with ExitStack() as stack:
        _sync([stack.enter_context(_open_folder(folder)) for folder in folders])


def _sync(descriptors: list[int]) -> None:
    # Each call waits for the disk, which writes concurrent requests in one go: a run of seven
    # files takes a quarter of the time of one call after the other.
    all_at_once(os.fsync, descriptors)


@contextmanager
def _open_folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
