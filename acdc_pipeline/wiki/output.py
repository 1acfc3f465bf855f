"""The folder of a site: its lock, its manifest, and files written only where they differ."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from acdc_pipeline.errors import ExecutionFailed, InvalidInput
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.store.locks import is_locked, try_lock

NAME = ".acdc-wiki.json"
"""The manifest."""
BUILDING = ".acdc-wiki.building"
"""Present during a build, and after one that was killed: the next build then writes every file."""
LOCK = ".acdc-wiki.lock"

_VERSION = 2

_MODEL_FILES = (".scores.parquet", ".edges.parquet", ".json", ".js")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the site: digest of its content, and its size in bytes."""

    digest: str
    size: int


Bounds = tuple[tuple[float, ...], tuple[float, ...], float]


@dataclass(frozen=True)
class Manifest:
    """The state of a site after a build.

    Args:
        sections: digest of each model's section, by slug.
        neighbours: digest of the nearest heads, by slug and name of the head.
        percentiles: bounds of the highest and of the lowest heads, and the median, by metric.
    """

    files: Mapping[str, Entry]
    sections: Mapping[str, str]
    neighbours: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    percentiles: Mapping[str, Bounds] = field(default_factory=dict)

    def files_by_section(self) -> dict[str, dict[str, Entry]]:
        """Return the files of each model, by slug."""
        found: dict[str, dict[str, Entry]] = {slug: {} for slug in self.sections}
        for path, entry in self.files.items():
            slug = _section_of(path)
            if slug in found:
                found[slug][path] = entry
        return found

    def encode(self) -> bytes:
        """Return the manifest as a file; the same site always gives the same bytes."""
        # one line for each file, without `indent`, with which the JSON library is slow
        lines = ",\n".join(
            f'{json.dumps(path)}: ["{entry.digest}", {entry.size}]'
            for path, entry in sorted(self.files.items())
        )
        sections = json.dumps(dict(self.sections), sort_keys=True)
        near = json.dumps({slug: dict(heads) for slug, heads in sorted(self.neighbours.items())})
        bounds = json.dumps(dict(self.percentiles), sort_keys=True)
        parts = f'"chapters": {sections},\n"kinships": {near},\n"percentiles": {bounds}'
        parts += f',\n"files": {{\n{lines}\n}}'
        return f'{{"version": {_VERSION}, {parts}}}\n'.encode("ascii")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a site; empty if there is no valid one, or if a build was killed."""
    path = folder / NAME
    if (folder / BUILDING).exists() or not path.is_file():
        return Manifest({}, {})
    try:
        document = read_json(path.read_bytes())
        if document["version"] != _VERSION:
            return Manifest({}, {})
        entries = {
            name: Entry(digest, size)
            for name, (digest, size) in sorted(document["files"].items())
            # no build writes outside the folder
            if not (name.startswith("/") or "\\" in name or ".." in name.split("/"))
        }
        neighbours = {slug: dict(heads) for slug, heads in document["kinships"].items()}
        percentiles = {
            metric: (tuple(map(float, high)), tuple(map(float, low)), float(median))
            for metric, (high, low, median) in document.get("percentiles", {}).items()
        }
        return Manifest(entries, dict(document["chapters"]), neighbours, percentiles)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Manifest({}, {})


def _section_of(path: str) -> str | None:
    """Return the slug of the model that a file belongs to; None for files of the whole site."""
    folder, _, rest = path.partition("/")
    last = rest.rpartition("/")[2]
    if folder == "m":
        return rest.partition("/")[0]
    if folder == "t":
        return last.removesuffix(".html")
    if folder == "data":
        return next((last.removesuffix(end) for end in _MODEL_FILES if last.endswith(end)), None)
    return None


@dataclass
class Writer:
    """Writes the files of a site (`entries`), except those that the last build (`before`) left."""

    out: Path
    before: Mapping[str, Entry]
    entries: dict[str, Entry] = field(default_factory=dict)
    written: int = 0
    _folders: set[Path] = field(default_factory=set)

    def write(self, name: str, content: bytes) -> None:
        """Add a file to the site, by its path below the root."""
        entry = Entry(digest_of(content), len(content))
        self.entries[name] = entry
        if self.before.get(name) != entry or not self.exists(name, entry):
            path = self.out / name
            if path.parent not in self._folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(path.parent)
            write_atomically(path, content)
            self.written += 1

    def read(self, name: str) -> bytes | None:
        """Return a file as the last build left it; None where it is another or missing."""
        entry = self.before.get(name)
        if entry is None or not self.exists(name, entry):
            return None
        content = (self.out / name).read_bytes()
        return content if digest_of(content) == entry.digest else None

    def exists(self, name: str, entry: Entry) -> bool:
        """Return whether a file of the last build still exists, with the same size."""
        try:
            # faster than Path.stat, and there are many files
            return os.stat(f"{self.out}/{name}").st_size == entry.size  # noqa: PTH116
        except OSError:
            return False


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers see either the old content or the new."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    os.replace(new, path)  # noqa: PTH105  (faster than Path.replace, and there are many files)


def remove_files(out: Path, names: set[str]) -> None:
    """Remove files of an earlier build, and folders that become empty."""
    folders: set[Path] = set()
    for name in names:
        path = out / name
        path.unlink(missing_ok=True)
        folders |= set(path.relative_to(out).parents)
    for folder in sorted(folders, key=lambda f: -len(f.parts)):
        if folder.parts:
            _remove_if_empty(out / folder)


def check_folder(folder: Path) -> None:
    """Raise InvalidInput unless `folder` is new, empty or a wiki."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInput("is a file, not a folder", where=str(folder), field="out")
    if not folder.is_dir() or any((folder / name).exists() for name in (NAME, BUILDING, LOCK)):
        return
    if next(folder.iterdir(), None) is not None:
        raise InvalidInput(
            "holds other files, and is not a wiki",
            where=str(folder),
            field="out",
            fix="name a new or an empty folder",
        )


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other builds out of `folder`; creates it, and removes it if it stays empty.

    Raises:
        ExecutionFailed: another build writes to it.
        InvalidInput: it cannot be written.
    """
    is_new, lock = not folder.exists(), folder / LOCK
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if is_new:
                stack.callback(_remove_if_empty, folder)
            free = stack.enter_context(try_lock(lock))
            # a file system without locks keeps nobody out
            if not free and is_locked(lock):
                raise ExecutionFailed(
                    "another build writes to this folder",
                    where=str(folder),
                    fix="wait until it is finished, or name another folder",
                )
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            raise InvalidInput(problem, where=str(folder), field="out") from error
        yield


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def digest_of(*parts: bytes | memoryview) -> str:
    """Return a digest of `parts`: 32 hex digits."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def program_digest() -> str:
    """Return a digest of all code and templates that pages depend on."""
    package = Path(str(files("acdc_pipeline")))
    folders = ("wiki", "heads", "graph", "plotting", "specs", "store")
    paths = [path for folder in folders for path in (package / folder).rglob("*")]
    suffixes = (".py", ".yaml", ".html", ".css", ".js", ".json", ".svg", ".txt")
    return digest_of(
        *(
            part
            for path in sorted(p for p in paths if p.suffix in suffixes)
            for part in (path.relative_to(package).as_posix().encode(), path.read_bytes())
        )
    )
