"""Chapters as files: all pages and data of one model."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment

from acdc_pipeline.store import Store, open_store
from acdc_pipeline.wiki.model_data import (
    edges_parquet,
    json_bytes,
    model_document,
    page_document,
    scores_parquet,
    script_bytes,
)
from acdc_pipeline.wiki.models import whole_model
from acdc_pipeline.wiki.output import Entry, Manifest, Writer, digest_of
from acdc_pipeline.wiki.page import environment
from acdc_pipeline.wiki.pages.circuit import circuit_page
from acdc_pipeline.wiki.pages.head import head_pages
from acdc_pipeline.wiki.pages.model import model_page
from acdc_pipeline.wiki.processes import carried_out
from acdc_pipeline.wiki.runs import read_whole
from acdc_pipeline.wiki.site import Chapter, Site


@dataclass(frozen=True)
class Draft:
    """A chapter to be written.

    Args:
        chapter: pickled.
        before: what the last build wrote for it.
        heads: the heads whose pages are written, by name; None for all and the rest of the chapter.
    """

    chapter: bytes
    before: dict[str, Entry]
    heads: frozenset[str] | None = None


@dataclass(frozen=True)
class Order:
    """What a worker is asked for.

    Args:
        out: the folder of the site.
        store: the folder of the store, where what summaries leave out is read; None where the
            chapters have it.
        drafts: the chapters.
    """

    out: Path
    store: Path | None
    drafts: Sequence[Draft]


@dataclass(frozen=True)
class Delivery:
    """What a worker made: the files of each chapter, and how many of them were written."""

    entries: list[dict[str, Entry]]
    written: int


def deliver(order: Order) -> Delivery:
    """Writes the chapters of an order, in a process that has no templates yet."""
    return write(order, environment())


def write(order: Order, templates: Environment) -> Delivery:
    """Writes the chapters of an order."""
    made: list[dict[str, Entry]] = []
    written = 0
    for draft in order.drafts:
        # it comes from the process that started this one
        chapter: Chapter = pickle.loads(draft.chapter)
        if order.store is not None:
            chapter = completed(chapter, open_store(order.store))
        writer = Writer(order.out, draft.before)
        for name, facts in head_pages(chapter, draft.heads):
            writer.page(templates, f"m/{chapter.model.slug}/{name}.html", "head.html", facts)
        if draft.heads is None:
            _write_rest(chapter, writer, templates)
        made.append({**draft.before, **writer.entries} if draft.heads else writer.entries)
        written += writer.written
    return Delivery(made, written)


def _write_rest(chapter: Chapter, writer: Writer, templates: Environment) -> None:
    """Writes what is not about one head."""
    slug = chapter.model.slug
    writer.page(templates, f"m/{slug}/index.html", "model.html", model_page(chapter))
    for task, (question, *others) in chapter.model.questions.items():
        facts = circuit_page(chapter, question, others)
        path = f"t/{chapter.tasks[task].slug}/{slug}.html"
        writer.page(templates, path, "circuit.html", facts)
    document = model_document(chapter)
    writer.data(f"data/{slug}.json", json_bytes(document))
    writer.data(f"data/{slug}.js", script_bytes(slug, json_bytes(page_document(document))))
    writer.data(f"data/{slug}.scores.parquet", scores_parquet(chapter.model))
    writer.data(f"data/{slug}.edges.parquet", edges_parquet(chapter.model))


def completed(chapter: Chapter, store: Store) -> Chapter:
    """A chapter made from summaries, with everything that was measured of its model.

    Raises:
        StoreError: they changed since.
    """
    runs = read_whole(store, chapter.model.profile_ids)
    return replace(chapter, model=whole_model(chapter.model, runs))


def pack(chapter: Chapter) -> bytes:
    """A chapter on its way to a worker."""
    return pickle.dumps(chapter, protocol=pickle.HIGHEST_PROTOCOL)


def stamp(chapter: Chapter, program: str) -> str:
    """Changes when a chapter does: where it is the same, no page of it has to be looked at."""
    parts = (program, chapter.model.digest, chapter.identity)
    # a name from outside may hold half of a surrogate pair
    return digest_of(*(part.encode("utf-8", "surrogatepass") for part in parts))


Progress = Callable[[str, int, int], None]
"""Hears what is done (`reading runs`), how much of it, and how much there is."""

_FEW_HEADS = 500
"""Up to here a second process costs more than it saves."""

_READING = 16
"""Pages of heads that could be written while the profiles of their model are read."""

_ORDERS_PER_WORKER = 8


@dataclass(frozen=True)
class Book:
    """The files of all models."""

    entries: Mapping[str, Entry]
    stamps: Mapping[str, str]
    kinships: Mapping[str, Mapping[str, str]]
    written: int


def write_chapters(
    site: Site,
    store: Store,
    out: Path,
    before: Manifest,
    kinships: Mapping[str, Mapping[str, str]],
    program: str,
    templates: Environment,
    jobs: int,
    progress: Progress,
) -> Book:
    """Writes the pages of every model that is not as it was.

    Of a model that is as it was, but whose heads are like other heads now, only pages of heads.
    """
    known = before.by_chapter()
    there = Writer(out, before.files)
    chapters = [site.chapter(index) for index in range(len(site.models))]
    stamps = {chapter.model.slug: stamp(chapter, program) for chapter in chapters}
    same = [
        before.chapters.get(slug) == stamps[slug]
        and all(there.is_there(name, entry) for name, entry in known.get(slug, {}).items())
        for slug in stamps
    ]
    needed = [i for i, c in enumerate(chapters) if not same[i] or c.model.slug not in kinships]
    chapters = site.with_nearest(chapters, needed)
    kinships = {**kinships, **{chapters[i].model.slug: chapters[i].kinships for i in needed}}
    entries: dict[str, Entry] = {}
    todo: list[Draft] = []
    for chapter, whole in zip(chapters, same, strict=True):
        slug = chapter.model.slug
        files_now = known.get(slug, {})
        moved = _moved(before.kinships.get(slug, {}), kinships[slug]) if whole else None
        if moved == frozenset():
            entries |= files_now
            continue
        full = chapter if store.folder else completed(chapter, store)
        todo.append(Draft(pack(full), files_now, moved))
    heads = sum(c.model.total_heads for c, whole in zip(chapters, same, strict=True) if not whole)
    heads += sum(_READING + len(draft.heads) for draft in todo if draft.heads)
    written, done = 0, 0
    for delivery in _delivered(
        _orders(todo, out, store.folder, jobs), templates, jobs if heads > _FEW_HEADS else 1
    ):
        for made in delivery.entries:
            entries |= made
        written += delivery.written
        done += len(delivery.entries)
        progress("writing models", done, len(todo))
    kept = {slug: kinships[slug] for slug in stamps}
    return Book(entries, stamps, kept, written)


def _moved(before: Mapping[str, str], now: Mapping[str, str]) -> frozenset[str]:
    """The heads that are like others than they were."""
    return frozenset(head for head in {*before, *now} if before.get(head) != now.get(head))


def _orders(todo: Sequence[Draft], out: Path, store: Path | None, jobs: int) -> list[Order]:
    size = max(1, -(-len(todo) // (jobs * _ORDERS_PER_WORKER)))
    return [Order(out, store, todo[start : start + size]) for start in range(0, len(todo), size)]


def _delivered(orders: Sequence[Order], templates: Environment, jobs: int) -> Iterator[Delivery]:
    if jobs == 1 or len(orders) < 2:
        yield from (write(order, templates) for order in orders)
        return
    yield from (made for _, made in carried_out(deliver, orders, jobs))
