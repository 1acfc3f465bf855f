"""A store as a site: read, compare, write what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.plotting.scales import THEMES, gradient
from acdc_pipeline.store import Store
from acdc_pipeline.wiki.cache import read_cache, write_cache
from acdc_pipeline.wiki.model_data import json_bytes, script_bytes
from acdc_pipeline.wiki.model_pages import Progress, write_chapters
from acdc_pipeline.wiki.output import (
    BUILDING,
    NAME,
    Manifest,
    Writer,
    alone_in,
    check_out,
    digest_of,
    program_digest,
    read_manifest,
    remove,
)
from acdc_pipeline.wiki.page import PACKAGE, environment
from acdc_pipeline.wiki.pages.home import (
    about_page,
    compare_page,
    home_page,
    model_index,
    search_page,
)
from acdc_pipeline.wiki.pages.mosaics import all_panels
from acdc_pipeline.wiki.pages.role import kind_index, kind_pages
from acdc_pipeline.wiki.pages.score import score_index, score_pages
from acdc_pipeline.wiki.pages.task import task_index, task_pages
from acdc_pipeline.wiki.processes import cores, rare_collections
from acdc_pipeline.wiki.runs import gather
from acdc_pipeline.wiki.search_index import (
    build_document,
    index_document,
    schema_document,
    score_columns,
    search_document,
)
from acdc_pipeline.wiki.site import Site, site_of

_MEASURED = "*"
"""Stands in the manifest for the pages of kinds and scores: no model's slug can be that."""


@dataclass(frozen=True)
class Built:
    """What came of a build.

    Args:
        out: where the site is.
        site: what it tells.
        files: how many files it has.
        written: how many of them were written; the rest was there already.
        removed: files of the last build that are gone.
        bytes: size of all files.
    """

    out: Path
    site: Site
    files: int
    written: int
    removed: int
    bytes: int


def build(
    store: Store,
    out: Path,
    *,
    notes: Path | None = None,
    project: Path | None = None,
    jobs: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Built:
    """Builds the site of `store` in the folder `out`.

    The same runs, notes and tasks make the same bytes, whatever was in `out` before. Files that
    this program did not write are left alone.

    Args:
        store: where the runs are.
        out: made if it is not there.
        notes: folder of hand-written notes.
        project: where tasks are looked for first.
        jobs: processes; None means one for each core that may be used.
        progress: hears how far it is.

    Raises:
        InvalidInput: `out` holds other files, or a note or a task has a problem.
        StoreError: the store cannot be read.
        ExecutionFailed: a process that writes pages was killed, or another build writes here.
    """
    check_out(out)
    with alone_in(out), rare_collections():
        return _built(store, out, notes, project, jobs or cores(), progress)


def _built(
    store: Store,
    out: Path,
    notes: Path | None,
    project: Path | None,
    jobs: int,
    progress: Progress,
) -> Built:
    before, program = read_manifest(out), program_digest()
    known = read_cache(out, program)
    gathered = gather(
        store, jobs, lambda done, total: progress("reading runs", done, total), known=known
    )
    site = site_of(gathered, notes, project)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / BUILDING).touch()
        if gathered.read or len(known) != len(gathered.runs):
            write_cache(out, program, gathered.known)
        templates = environment()
        measured = digest_of(program.encode(), site.measured.encode("utf-8", "surrogatepass"))
        same = before.chapters.get(_MEASURED) == measured
        # nothing else decides which heads are alike
        kinships = before.kinships if same else {}
        book = write_chapters(
            site, store, out, before, kinships, program, templates, jobs, progress
        )
        writer = Writer(out, before.files, dict(book.entries))
        _pages(site, writer, templates, progress)
        if not same or not _kept_measures(writer):
            _measures(site, writer, templates, progress)
        gone = set(before.files) - set(writer.entries)
        remove(out, gone)
        stamps = {**book.stamps, _MEASURED: measured}
        (out / NAME).write_bytes(Manifest(writer.entries, stamps, book.kinships).encode())
        (out / BUILDING).unlink()
    except OSError as error:
        raise InvalidInput(
            f"cannot be written: {error.strerror or error}", where=str(out), field="--out"
        ) from error
    return Built(
        out=out,
        site=site,
        files=len(writer.entries),
        written=book.written + writer.written,
        removed=len(gone),
        bytes=sum(entry.size for entry in writer.entries.values()),
    )


def _pages(site: Site, writer: Writer, templates: Environment, progress: Progress) -> None:
    """Writes what is not about one model: lists, kinds, scores, tasks, data, assets."""
    made = 0

    def page(name: str, template: str, facts: Mapping[str, object]) -> None:
        nonlocal made
        writer.page(templates, name, template, facts)
        made += 1
        progress("writing pages", made, 0)

    page("index.html", "home.html", home_page(site))
    page("m/index.html", "models.html", model_index(site))
    page("k/index.html", "kinds.html", kind_index(site))
    page("s/index.html", "scores.html", score_index(site))
    page("t/index.html", "tasks.html", task_index(site))
    page("about.html", "about.html", about_page(site))
    page("search.html", "search.html", search_page())
    page("compare.html", "compare.html", compare_page())
    for slug, facts in task_pages(site):
        page(f"t/{slug}/index.html", "task.html", facts)
    for name, document in (
        ("index", index_document(site)),
        ("search", search_document(site)),
        ("build", build_document(site)),
        ("schema", schema_document()),
    ):
        content = json_bytes(document)
        writer.data(f"data/{name}.json", content)
        if name in ("search", "build"):
            writer.data(f"data/{name}.js", script_bytes(name, content))
    for name, content in _assets():
        writer.data(f"assets/{name}", content)


def _measures(site: Site, writer: Writer, templates: Environment, progress: Progress) -> None:
    """Writes what is about kinds and scores over all models."""
    made, shown = 0, all_panels(site, "../")
    for folder, template, pages in (
        ("k", "kind.html", kind_pages(site, shown)),
        ("s", "score.html", score_pages(site, shown)),
    ):
        for name, facts in pages:
            writer.page(templates, f"{folder}/{name}.html", template, facts)
            made += 1
            progress("comparing models", made, 0)
    for name, document in score_columns(site):
        writer.data(f"data/{name}.js", script_bytes(name, json_bytes(document)))


def _kept_measures(writer: Writer) -> bool:
    """Leaves what `_measures` wrote as it is; False, and nothing done, where a file is gone."""
    found = {
        name: entry
        for name, entry in writer.before.items()
        if name.startswith(("k/", "s/", "data/scores/")) and name not in writer.entries
    }
    whole = all(writer.is_there(name, entry) for name, entry in found.items())
    if whole:
        writer.entries |= found
    return whole


def _assets() -> Iterator[tuple[str, bytes]]:
    folder = files(PACKAGE) / "assets"
    for asset in sorted(folder.iterdir(), key=lambda item: item.name):
        content = asset.read_bytes()
        if asset.name == "wiki.css":
            content = _scales().encode() + content
        yield asset.name, content


def _scales() -> str:
    """The colour scales of the mosaics, for their legends."""
    parts = []
    for theme in THEMES:
        for scale in ("share", "signed"):
            parts.append(f"--{scale}-{theme}:linear-gradient(90deg,{gradient(theme, scale)})")
    return f":root{{{';'.join(parts)}}}\n"
