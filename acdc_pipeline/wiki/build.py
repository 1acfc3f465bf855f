"""Build the site of a store: read the runs, and write the files that differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment

from acdc_pipeline.errors import InvalidInput, check_whole
from acdc_pipeline.plotting.scales import THEMES, gradient
from acdc_pipeline.store import Store
from acdc_pipeline.wiki.cache import read_cache, write_cache
from acdc_pipeline.wiki.dumps import edge_dump, score_dump
from acdc_pipeline.wiki.model_pages import Progress, write_model_files
from acdc_pipeline.wiki.output import (
    BUILDING,
    NAME,
    Manifest,
    Writer,
    check_folder,
    digest_of,
    lock_folder,
    program_digest,
    read_manifest,
    remove_files,
)
from acdc_pipeline.wiki.page import PACKAGE, load_templates
from acdc_pipeline.wiki.pages import render_pages
from acdc_pipeline.wiki.pages.changes import change_files
from acdc_pipeline.wiki.pages.featured import front_data
from acdc_pipeline.wiki.processes import count_cores, infrequent_gc
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.site import Site, make_site
from acdc_pipeline.wiki.site_data import score_files, site_files

_SCORES = "*"
"""Key of the pages of roles and scores among the sections of the manifest; never a slug."""

_EDGES = "data/all.edges."
"""How the paths of the table of edges begin, and its key among the sections of the manifest."""

_SCORE_FILES = ("k/", "s/", "f/", "data/scores/", "data/all.scores.", "data/all.roles.")
"""How the paths of `_score_files` begin."""


@dataclass(frozen=True)
class Built:
    """The result of a build: its content, and the numbers of all, written and removed files."""

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
    progress: Progress = lambda activity, done, total: None,
) -> Built:
    """Build the site of a store in a folder.

    The same runs, notes and tasks give the same bytes, whatever the folder contained. Files that
    are not part of the site are left alone.

    Args:
        out: folder of the site; created if it does not exist.
        project: project folder whose tasks come first.
        jobs: number of processes; None for one on each core.
        progress: called with the current activity, the amount done and the total.

    Raises:
        InvalidInput: `jobs` is below 1, `out` holds other files or cannot be written, or a note is
            invalid.
        SpecError: the file of a task, or that of families, is invalid.
        UnknownName: a declared family has a member that is not on the site.
        StoreError: the store cannot be read.
        ExecutionFailed: a worker process was killed, or another build writes to `out`.
    """
    if jobs is not None:
        check_whole(jobs, "jobs", 1)
    check_folder(out)
    with lock_folder(out), infrequent_gc():
        before, program = read_manifest(out), program_digest()
        cached = read_cache(out, program)
        jobs = count_cores() if jobs is None else jobs
        contents = read_store(
            store, jobs, lambda done, total: progress("reading runs", done, total), cached=cached
        )
        site = make_site(contents, notes, project)
        try:
            out.mkdir(parents=True, exist_ok=True)
            (out / BUILDING).touch()
            if contents.runs_read or len(cached) != len(contents.runs):
                write_cache(out, program, contents.cached, cached)
            built = _write_site(site, store, out, before, program, jobs, progress)
            (out / BUILDING).unlink()
        except OSError as error:
            raise InvalidInput(
                f"cannot be written: {error.strerror or error}", where=str(out), field="out"
            ) from error
        return built


def _write_site(
    site: Site,
    store: Store,
    out: Path,
    before: Manifest,
    program: str,
    jobs: int,
    progress: Progress,
) -> Built:
    templates = load_templates()
    scores = digest_of(program.encode(), site.measured.encode("utf-8", "surrogatepass"))
    same_scores = before.sections.get(_SCORES) == scores
    families = {
        f"f/{family.slug}.html": digest_of(
            program.encode(), repr(family.shown).encode("utf-8", "surrogatepass")
        )
        for family in site.families
    }
    edges = digest_of(program.encode(), site.searched.encode("utf-8", "surrogatepass"))
    writer = Writer(out, before.files)

    def write_others() -> None:
        shown = replace(site, front=front_data(site, store))
        for made, (path, content) in enumerate(_site_files(shown, templates), start=1):
            writer.write(path, content)
            progress("writing pages", made, 0)
        if before.sections.get(_EDGES) != edges or not _keep_files(writer, (_EDGES,)):
            for path, content in edge_dump(site.models):
                writer.write(path, content)
        # after the lists of roles and scores, which are written by every build
        if not same_scores or not _keep_files(writer, _SCORE_FILES):
            for made, (path, content) in enumerate(_score_files(site, templates), start=1):
                writer.write(path, content)
                progress("comparing models", made, 0)
            _write_families(site, templates, writer, before, families)

    models, written = write_model_files(
        site,
        store,
        out,
        before,
        program,
        templates,
        jobs,
        progress,
        same_scores=same_scores,
        meanwhile=write_others,
    )
    writer.entries |= models.files
    writer.written += written
    removed = set(before.files) - set(writer.entries)
    remove_files(out, removed)
    sections = {**models.sections, _SCORES: scores, _EDGES: edges, **families}
    bounds = {metric: score.percentiles.bounds for metric, score in site.scores.items()}
    manifest = Manifest(writer.entries, sections, models.neighbours, bounds)
    (out / NAME).write_bytes(manifest.encode())
    return Built(
        out=out,
        site=site,
        files=len(writer.entries),
        written=writer.written,
        removed=len(removed),
        bytes=sum(entry.size for entry in writer.entries.values()),
    )


def _site_files(site: Site, templates: Environment) -> Iterator[tuple[str, bytes]]:
    """Yield the files that are not about one model, role or score."""
    yield from render_pages("site", site, templates)
    yield from site_files(site)
    yield from change_files(site)
    for asset in sorted((files(PACKAGE) / "assets").iterdir(), key=lambda item: item.name):
        content = asset.read_bytes()
        yield f"assets/{asset.name}", _colours() + content if asset.name == "wiki.css" else content


def _score_files(site: Site, templates: Environment) -> Iterator[tuple[str, bytes]]:
    # Arrow encodes tables while Python renders pages
    with ThreadPoolExecutor(1) as pool:
        dump = pool.submit(lambda: list(score_dump(site.models)))
        yield from render_pages("scores", site, templates)
        yield from score_files(site)
        yield from dump.result()


def _write_families(
    site: Site,
    templates: Environment,
    writer: Writer,
    before: Manifest,
    digests: Mapping[str, str],
) -> None:
    """Write the pages of the families that changed; the others are kept."""
    kept = {
        path: before.files[path]
        for path, digest in digests.items()
        if before.sections.get(path) == digest
        and path in before.files
        and writer.exists(path, before.files[path])
    }
    writer.entries |= kept
    for path, content in render_pages("families", site, templates, digests.keys() - kept.keys()):
        writer.write(path, content)


def _keep_files(writer: Writer, starts: tuple[str, ...]) -> bool:
    """Keep the files whose paths begin so as they are; returns whether all still exist."""
    found = {
        name: entry
        for name, entry in writer.before.items()
        if name.startswith(starts) and name not in writer.entries
    }
    if not all(writer.exists(name, entry) for name, entry in found.items()):
        return False
    writer.entries |= found
    return True


def _colours() -> bytes:
    """Return the colour scales of the mosaics as CSS, for their legends."""
    variables = ";".join(
        f"--{scale}-{theme}:linear-gradient(90deg,{gradient(theme, scale)})"
        for theme in THEMES
        for scale in ("share", "signed")
    )
    return f":root{{{variables}}}\n".encode()
