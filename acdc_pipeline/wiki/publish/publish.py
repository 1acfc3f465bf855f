"""Bring a built site to a target: only what differs, and again from where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.wiki.history.feeds import JSON_PATH
from acdc_pipeline.wiki.output import (
    BUILDING,
    NAME,
    Entry,
    digest_of,
    lock_folder,
    read_manifest,
)
from acdc_pipeline.wiki.publish.content import (
    VERSIONS,
    absolute_feeds,
    archived_path,
    extra_files,
    versions_script,
)
from acdc_pipeline.wiki.publish.hosts import HOSTS, Host
from acdc_pipeline.wiki.publish.targets import Target

RECORD = ".acdc-wiki.published.json"
"""What is published at a target: its files, with their digests, and its data versions."""

_FORMAT = 1
_BATCH = 2000
"""Files after which the record is written: what an interrupted upload may send again."""


@dataclass(frozen=True)
class Record:
    """The state of a target.

    Args:
        version: data version of the site.
        models: data version of each model, by slug.
        kept: earlier versions whose data files are kept, newest first; each with its models.
    """

    version: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Entry] = field(default_factory=dict)
    kept: tuple[Mapping[str, Any], ...] = ()

    def encode(self) -> bytes:
        files = {path: [entry.digest, entry.size] for path, entry in sorted(self.files.items())}
        plain = {
            "format": _FORMAT,
            "version": self.version,
            "models": dict(self.models),
            "kept": list(self.kept),
            "files": files,
        }
        return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Record | None:
        """Return a record; None for any other content."""
        try:
            plain = read_json(data)
            if plain["format"] != _FORMAT:
                return None
            files = {path: Entry(*entry) for path, entry in plain["files"].items()}
            return cls(plain["version"], plain["models"], files, tuple(plain["kept"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass(frozen=True)
class Published:
    """What was published, or would be.

    Args:
        written, removed: paths.
        exceeded: for each known host, by title, the limits that the site exceeds, with their fixes.
        kept: earlier data versions whose files are there.
    """

    version: str
    where: str
    files: int
    bytes: int
    written: tuple[str, ...]
    written_bytes: int
    removed: tuple[str, ...]
    exceeded: Mapping[str, tuple[tuple[str, str], ...]]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """A file to publish: its entry, and what reads it."""

    entry: Entry
    read: Callable[[], bytes]


def publish(
    site: Path,
    target: Target,
    *,
    host: str | None = None,
    url: str | None = None,
    keep: int = 0,
    dry_run: bool = False,
    progress: Callable[[str, int, int], None] = lambda activity, done, total: None,
) -> Published:
    """Publish a built site.

    Files that the target has already, by the record that is kept there and by size, are not sent
    again. Files there that are not of a published site are never touched.

    Args:
        site: folder of the build.
        host: key of `HOSTS` whose limits must hold; None for none.
        url: address of the published site, with a slash at its end.
        keep: number of earlier data versions of which `index.json` and the JSON and Parquet files
            of each model stay, in `data/versions/VERSION/`.

    Raises:
        InvalidInput: there is no complete site, a file of it was changed, it exceeds a limit of the
            host, or the target holds other files.
        StoreError: the target cannot be read or written.
        ExecutionFailed: a build writes to the folder, or git failed.
    """
    if not (site / "index.html").is_file():
        raise InvalidInput("holds no wiki", where=str(site), fix="build one: acdc wiki build")
    with lock_folder(site):
        there = target.sizes()
        before = _record_of(target, there)
        built = _built(site)
        index = read_json((site / "data" / "index.json").read_bytes())
        kept = _kept(before, index["data_version"], keep)
        sources = {**built, **_made(site, url, kept), **_archive(target, before, kept)}
        sizes = {path: source.entry.size for path, source in sources.items()}
        exceeded = {each.title: tuple(each.problems(sizes)) for each in HOSTS.values()}
        if host is not None and exceeded[HOSTS[host].title]:
            raise _too_much(HOSTS[host], exceeded[HOSTS[host].title])
        todo = [
            path
            for path, source in sources.items()
            if before.files.get(path) != source.entry or there.get(path) != source.entry.size
        ]
        # what pages read comes before the pages, and the page that leads to all others last
        todo.sort(key=lambda path: (path == "index.html", path.endswith(".html"), path))
        gone = sorted(path for path in before.files if path in there and path not in sources)
        models = {each["slug"]: each["data_version"] for each in index["models"]}
        after = Record(index["data_version"], models, _entries(sources), kept)
        if not dry_run:
            _send(target, sources, todo, gone, before, after, progress)
        return Published(
            version=after.version,
            where=target.where,
            files=len(sources),
            bytes=sum(sizes.values()),
            written=tuple(todo),
            written_bytes=sum(sizes[path] for path in todo),
            removed=tuple(gone),
            exceeded=exceeded,
            kept=tuple(each["version"] for each in kept),
        )


def _record_of(target: Target, there: Mapping[str, int]) -> Record:
    """Return the record of a target. Raises InvalidInput if it holds other files."""
    if not there:
        return Record()
    data = target.read(RECORD)
    found = None if data is None else Record.decode(data)
    if data is not None and found is None:
        raise InvalidInput(
            f"{RECORD}, which says what is published there, is damaged",
            where=target.where,
            fix="empty the place, or name another one",
        )
    if found is None:
        raise InvalidInput(
            "holds other files, and is not a published wiki",
            where=target.where,
            fix="name a new or an empty place",
        )
    return found


def _kept(before: Record, version: str, keep: int) -> tuple[Mapping[str, Any], ...]:
    earlier = [each for each in before.kept if each["version"] != version]
    if before.version and before.version != version:
        earlier.insert(0, {"version": before.version, "models": dict(before.models)})
    return tuple(earlier[:keep])


def _built(site: Path) -> dict[str, _Source]:
    """Return the files of the build. Raises InvalidInput if one is missing or was changed."""
    found: dict[str, _Source] = {}
    manifest = read_manifest(site)
    for path, entry in manifest.files.items():
        file = site / path
        if not file.is_file():
            fix = "build it again: acdc wiki build"
            raise InvalidInput(f"is incomplete: {path} is missing", where=str(site), fix=fix)
        if file.stat().st_size != entry.size or digest_of(file.read_bytes()) != entry.digest:
            fix = f"delete {path}, and build again: acdc wiki build"
            raise InvalidInput(f"{path} was changed after the build", where=str(site), fix=fix)
        found[path] = _Source(entry, file.read_bytes)
    if not found:
        was_killed = (site / BUILDING).exists()
        why = f"{BUILDING} is left of a build" if was_killed else f"no valid {NAME}"
        fix = "build it again: acdc wiki build"
        raise InvalidInput(f"is incomplete: {why}", where=str(site), fix=fix)
    return found


def _made(site: Path, url: str | None, kept: Sequence[Mapping[str, Any]]) -> dict[str, _Source]:
    """Return the files that only a published site has, or that are others there."""
    pages = sorted(path for path in read_manifest(site).files if path.endswith(".html"))
    made = dict(extra_files(pages, url))
    if url is not None:
        made |= absolute_feeds((site / JSON_PATH).read_bytes(), url)
    script = (site / f"{VERSIONS}.js").read_bytes()
    made[f"{VERSIONS}.js"] = versions_script(script, kept)
    return {path: _source(content) for path, content in made.items()}


def _source(content: bytes) -> _Source:
    return _Source(Entry(digest_of(content), len(content)), lambda: content)


def _archive(
    target: Target, before: Record, kept: Sequence[Mapping[str, Any]]
) -> dict[str, _Source]:
    """Return the data files of the kept versions, from where they are at the target now."""
    found: dict[str, _Source] = {}
    versions = [each["version"] for each in kept]
    for path, entry in before.files.items():
        if path.startswith(f"{VERSIONS}/") and path.split("/")[2] in versions:
            found[path] = _Source(entry, _reader(target, path))
        elif before.version in versions and (to := archived_path(before.version, path)):
            # after an interruption it may be there already, and the newest be another
            found.setdefault(to, _Source(before.files.get(to, entry), _reader(target, path)))
    return found


def _reader(target: Target, path: str) -> Callable[[], bytes]:
    def read() -> bytes:
        content = target.read(path)
        if content is None:
            raise InvalidInput(f"lacks {path}", where=target.where, fix="keep no version: --keep 0")
        return content

    return read


def _send(
    target: Target,
    sources: Mapping[str, _Source],
    todo: Sequence[str],
    gone: Sequence[str],
    before: Record,
    after: Record,
    progress: Callable[[str, int, int], None],
) -> None:
    if not todo and not gone and before == after:
        return
    # first what is read from the target, all of it before anything there is replaced
    kept = [path for path in todo if path.startswith(f"{VERSIONS}/")]
    rest = [path for path in todo if not path.startswith(f"{VERSIONS}/")]
    batches = [
        part[start : start + _BATCH]
        for part in (kept, rest)
        for start in range(0, len(part), _BATCH)
    ]
    done, sent = dict(before.files), 0
    with target.writing(f"Head wiki, data version {after.version}"):
        if not target.is_atomic:
            target.write({RECORD: before.encode()})
        for batch in batches:
            target.write({path: sources[path].read() for path in batch})
            done |= {path: sources[path].entry for path in batch}
            sent += len(batch)
            if not target.is_atomic:
                state = Record(before.version, before.models, done, before.kept)
                target.write({RECORD: state.encode()})
            progress("publishing", sent, len(todo))
        target.remove(gone)
        target.write({RECORD: after.encode()})


def _entries(sources: Mapping[str, _Source]) -> dict[str, Entry]:
    return {path: source.entry for path, source in sources.items()}


def _too_much(host: Host, problems: Iterable[tuple[str, str]]) -> InvalidInput:
    found = list(problems)
    return InvalidInput(
        "; ".join(problem for problem, _ in found),
        where=host.title,
        field="host",
        allowed=host.source,
        fix="; ".join(dict.fromkeys(fix for _, fix in found)),
    )
