"""What a build wrote, so that the next one writes only what differs and removes only what is its
own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment

from acdc_pipeline.errors import ExecutionFailed, InvalidInput
from acdc_pipeline.json_text import read_json
from acdc_pipeline.store.locks import is_locked, try_lock
from acdc_pipeline.wiki.page import render

NAME = ".acdc-wiki.json"
BUILDING = ".acdc-wiki.building"
"""There while a build runs, and after one that was killed: then everything is written anew."""
LOCK = ".acdc-wiki.lock"
"""What a build holds while it runs, so that no other writes beside it."""

_VERSION = 2


_OF_MODELS = (".scores.parquet", ".edges.parquet", ".json", ".js")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the site.

    Args:
        digest: of its content.
        size: its bytes.
    """

    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What a build finished with.

    Args:
        files: every file of the site.
        chapters: for each model, by slug, what its files were made from.
        kinships: for each model what stands for the nearest heads of its heads, by name.
    """

    files: Mapping[str, Entry]
    chapters: Mapping[str, str]
    kinships: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def by_chapter(self) -> dict[str, dict[str, Entry]]:
        """The files of each model."""
        found: dict[str, dict[str, Entry]] = {slug: {} for slug in self.chapters}
        for name, entry in self.files.items():
            slug = _chapter_of(name)
            if slug in found:
                found[slug][name] = entry
        return found

    def encode(self) -> bytes:
        """The manifest as a file; the same site always gives the same bytes."""
        # A line for each file, put together here: indented JSON is written slowly.
        files = ",\n".join(
            f'{json.dumps(name)}: ["{entry.digest}", {entry.size}]'
            for name, entry in sorted(self.files.items())
        )
        chapters = json.dumps(dict(self.chapters), sort_keys=True)
        kinships = json.dumps({slug: dict(heads) for slug, heads in sorted(self.kinships.items())})
        parts = f'"chapters": {chapters},\n"kinships": {kinships},\n"files": {{\n{files}\n}}'
        return f'{{"version": {_VERSION}, {parts}}}\n'.encode("ascii")


def check_out(folder: Path) -> None:
    """Raises InvalidInput unless `folder` is new, empty or a wiki that was built before."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInput("is a file, not a folder", where=str(folder), field="--out")
    if not folder.is_dir() or any((folder / name).exists() for name in (NAME, BUILDING, LOCK)):
        return
    if next(folder.iterdir(), None) is not None:
        raise InvalidInput(
            "holds other files, and is no wiki",
            where=str(folder),
            field="--out",
            fix="name a new or an empty folder",
        )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps other builds out of `folder`, which is made, and goes again where nothing was built.

    Raises:
        ExecutionFailed: another build writes there.
        InvalidInput: it cannot be written.
    """
    is_new, lock = not folder.exists(), folder / LOCK
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if is_new:
                stack.callback(_remove_empty, folder)
            free = stack.enter_context(try_lock(lock))
            # where a file system has no locks, nobody is kept out
            if not free and is_locked(lock):
                raise ExecutionFailed(
                    "another build writes here",
                    where=str(folder),
                    fix="wait until it is over, or name another folder with --out",
                )
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            raise InvalidInput(problem, where=str(folder), field="--out") from error
        yield


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def read_manifest(folder: Path) -> Manifest:
    """What the last build of `folder` finished with; nothing where it did not finish."""
    nothing = Manifest({}, {})
    path = folder / NAME
    if (folder / BUILDING).exists() or not path.is_file():
        return nothing
    try:
        document = read_json(path.read_bytes())
        if document["version"] != _VERSION:
            return nothing
        known = {name: Entry(digest, size) for name, (digest, size) in document["files"].items()}
        # A name that leads out of the folder was not written by a build.
        inside = {name for name in known if not _leads_out(name)}
        kinships = {slug: dict(heads) for slug, heads in document["kinships"].items()}
        files = {name: known[name] for name in sorted(inside)}
        return Manifest(files, dict(document["chapters"]), kinships)
    except (ValueError, KeyError, TypeError, AttributeError):
        return nothing


def _leads_out(name: str) -> bool:
    return name.startswith("/") or "\\" in name or ".." in name.split("/")


def digest_of(*parts: bytes) -> str:
    """Sixteen hex digits that stand for `parts`."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def program_digest() -> str:
    """What pages are made with: another template or another line of code makes other pages."""
    package = Path(str(files("acdc_pipeline")))
    folders = ("wiki", "heads", "graph", "specs", "store")
    paths = [path for folder in folders for path in (package / folder).rglob("*")]
    known = sorted(p for p in paths if p.suffix in (".py", ".html", ".css", ".js", ".svg", ".txt"))
    return digest_of(*(part for path in known for part in _named(path, package)))


def _chapter_of(name: str) -> str | None:
    """The model whose file it is, by slug; None for files of the whole site."""
    folder, _, rest = name.partition("/")
    if folder == "m":
        return rest.partition("/")[0]
    last = rest.rpartition("/")[2]
    if folder == "t":
        return last.removesuffix(".html")
    if folder == "data":
        return next((last.removesuffix(end) for end in _OF_MODELS if last.endswith(end)), None)
    return None


def _named(path: Path, package: Path) -> tuple[bytes, bytes]:
    return path.relative_to(package).as_posix().encode(), path.read_bytes()


@dataclass
class Writer:
    """Writes files below a folder, and remembers what the site consists of.

    Args:
        out: the folder.
        before: what the last build wrote.
        entries: what the site consists of now.
        written: how many files were written; the others were there already.
    """

    out: Path
    before: Mapping[str, Entry]
    entries: dict[str, Entry] = field(default_factory=dict)
    written: int = 0
    _folders: set[Path] = field(default_factory=set)

    def page(
        self, templates: Environment, name: str, template: str, facts: Mapping[str, Any]
    ) -> None:
        """A page."""
        self.data(name, render(templates, template, facts))

    def data(self, name: str, content: bytes) -> None:
        """A file with this content."""
        entry = Entry(digest_of(content), len(content))
        self.entries[name] = entry
        if self.before.get(name) != entry or not self.is_there(name, entry):
            self._write(self.out / name, content)
            self.written += 1

    def is_there(self, name: str, entry: Entry) -> bool:
        """Whether the file that an earlier build wrote is still there, by its size."""
        try:
            # cheaper than through a Path, and there are many files
            return os.stat(f"{self.out}/{name}").st_size == entry.size  # noqa: PTH116
        except OSError:
            return False

    def _write(self, path: Path, content: bytes) -> None:
        if path.parent not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(path.parent)
        beside = path.with_name(f"{path.name}.new")
        beside.write_bytes(content)
        # who reads the site meanwhile sees the old page or the new one
        os.replace(beside, path)  # noqa: PTH105  (cheaper, and there are many pages)


def remove(out: Path, names: set[str]) -> None:
    """Removes files of an earlier build, and the folders that they leave empty."""
    folders: set[Path] = set()
    for name in names:
        path = out / name
        path.unlink(missing_ok=True)
        folders |= set(path.relative_to(out).parents)
    for folder in sorted(folders, key=lambda f: -len(f.parts)):
        if folder.parts:
            try:
                (out / folder).rmdir()
            except OSError:
                continue  # something else is in it
