"""The files of each model's section, written by several processes where they changed."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from jinja2 import Environment

from acdc_pipeline.store import Store, open_store
from acdc_pipeline.wiki.model_data import model_files
from acdc_pipeline.wiki.models import HeadIndex, head_name, restore_profiles
from acdc_pipeline.wiki.neighbours import SimilarHead, digest_nearest
from acdc_pipeline.wiki.output import Entry, Manifest, Writer
from acdc_pipeline.wiki.page import load_templates
from acdc_pipeline.wiki.pages import render_pages
from acdc_pipeline.wiki.pages.head_nearest import replace_nearest
from acdc_pipeline.wiki.pages.head_scores import find_relabelled, replace_labels
from acdc_pipeline.wiki.pattern_data import pattern_files
from acdc_pipeline.wiki.processes import map_in_processes
from acdc_pipeline.wiki.runs import read_full_runs, read_run
from acdc_pipeline.wiki.score_tables import table_files
from acdc_pipeline.wiki.scores import Percentiles
from acdc_pipeline.wiki.site import Section, Site
from acdc_pipeline.wiki.why_data import why_files

Progress = Callable[[str, int, int], None]
"""Called with the current activity, the amount done and the total; 0 for an unknown total."""

_FEW_HEADS = 500
"""Up to this number of heads, starting a second process takes longer than it saves."""

_MANY_HEADS = 20_000
"""Heads of a site whose other files take longer than starting a second process."""

_READING = 16
"""Pages of heads written in the time in which the profiles of a model are read."""

_BATCHES_PER_WORKER = 8


@dataclass(frozen=True)
class _Job:
    """A pickled section to write, its files of the last build, and paths to write (None: all)."""

    section: bytes
    before: dict[str, Entry]
    only: frozenset[str] | None


def write_model_files(
    site: Site,
    store: Store,
    out: Path,
    before: Manifest,
    program: str,
    templates: Environment,
    jobs: int,
    progress: Progress,
    *,
    same_scores: bool,
    meanwhile: Callable[[], None],
) -> tuple[Manifest, int]:
    """Write the files of every model that changed; returns all of them, and the number written.

    Where only the nearest heads of heads changed, or their places among all heads, only the pages
    of these heads are written, and rendered again only where that cannot be replaced.

    Args:
        same_scores: whether the scores and roles of all models are those of the last build.
        meanwhile: writes all other files; called once, and while other processes write those of
            models if there are such processes.
    """
    files_before = before.files_by_section()
    writer = Writer(out, before.files)
    sections = [site.section(model) for model in site.models]
    digests = {section.model.slug: section.digest(program) for section in sections}
    percentiles = {
        metric: Percentiles(*bounds, 0, 0) for metric, bounds in before.percentiles.items()
    }
    unchanged = {
        section.model.slug
        for section, (slug, digest) in zip(sections, digests.items(), strict=True)
        if before.sections.get(slug) == digest
        and section.scores.keys() <= percentiles.keys()
        and all(writer.exists(name, entry) for name, entry in files_before[slug].items())
    }
    # the nearest heads depend on scores and roles only
    neighbours = dict(before.neighbours) if same_scores else {}
    needed = [
        index
        for index, slug in enumerate(digests)
        if slug not in unchanged or slug not in neighbours
    ]
    sections = site.add_nearest(sections, needed)
    texts: dict[SimilarHead, str] = {}
    neighbours |= {
        sections[i].model.slug: digest_nearest(sections[i].nearest, texts) for i in needed
    }
    entries: dict[str, Entry] = {}
    todo: list[_Job] = []
    load = 0
    for section in sections:
        slug = section.model.slug
        only = None
        if slug in unchanged:
            old, new = before.neighbours.get(slug, {}), neighbours[slug]
            heads = {head for head in {*old, *new} if old.get(head) != new.get(head)}
            labels = {} if same_scores else find_relabelled(section, percentiles)
            only = _replace_parts(section, heads, labels, writer, templates)
            files_before[slug] |= writer.entries
            entries |= files_before[slug]
            writer.entries.clear()
            if not only:
                continue
        load += section.model.total_heads if only is None else _READING + len(only)
        full = section if store.folder else _read_profiles(section, store)
        packed = pickle.dumps(full, protocol=pickle.HIGHEST_PROTOCOL)
        todo.append(_Job(packed, files_before.get(slug, {}), only))
    size = max(1, -(-len(todo) // (jobs * _BATCHES_PER_WORKER)))
    batches = [todo[start : start + size] for start in range(0, len(todo), size)]
    write = partial(_write_batch, out, store.folder)
    results: Iterator[tuple[dict[str, Entry], int, int]]
    is_small = len(batches) < 2 or load <= _FEW_HEADS
    if not batches or jobs == 1 or (is_small and site.heads < _MANY_HEADS):
        meanwhile()
        results = (write(batch, templates) for batch in batches)
    else:
        results = map_in_processes(write, batches, jobs, meanwhile)
    written, done = writer.written, 0
    for made, models, files in results:
        entries |= made
        written += files
        done += models
        progress("writing models", done, len(todo))
    return Manifest(entries, digests, {slug: neighbours[slug] for slug in digests}), written


def _replace_parts(
    section: Section,
    heads: Collection[str],
    labels: Mapping[HeadIndex, Mapping[str, str]],
    writer: Writer,
    templates: Environment,
) -> frozenset[str]:
    """Write the pages of `heads` with other nearest heads, and those of `labels` with other places
    among all heads; returns the pages of them that have to be rendered."""
    left = set()
    for place in section.model.places:
        head = head_name(*place)
        if head not in heads and place not in labels:
            continue
        path = f"m/{section.model.slug}/{head}.html"
        page = writer.read(path)
        if page is not None and head in heads:
            page = replace_nearest(page, section, place, templates)
        if page is not None and place in labels:
            page = replace_labels(page, section, labels[place])
        if page is None:
            left.add(path)
        else:
            writer.write(path, page)
    return frozenset(left)


def _write_batch(
    out: Path, store: Path | None, batch: Sequence[_Job], templates: Environment | None = None
) -> tuple[dict[str, Entry], int, int]:
    """Write the files of a batch; returns them, the number of models and of files written.

    `store` is None if the sections contain full profiles, `templates` in a worker process.
    """
    templates = templates or load_templates()
    entries: dict[str, Entry] = {}
    written = 0
    for job in batch:
        section: Section = pickle.loads(job.section)  # pickled by the parent process
        if store is not None:
            section = _read_profiles(section, open_store(store))
        writer = Writer(out, job.before)
        for path, content in render_pages("model", section, templates, job.only):
            writer.write(path, content)
        if job.only is None:
            model = section.model
            shards = model_files(model), pattern_files(model), why_files(model)
            for path, content in chain.from_iterable((*shards, table_files(section))):
                writer.write(path, content)
        else:
            entries |= job.before
        entries |= writer.entries
        written += writer.written
    return entries, len(batch), written


def _read_profiles(section: Section, store: Store) -> Section:
    """Read what summaries of profiles leave out. Raises StoreError if the runs changed."""
    model = section.model
    runs = read_full_runs(store, model.profile_ids)
    text = None if model.text_id is None else read_run(store, model.text_id)
    return replace(section, model=restore_profiles(model, runs, text))
