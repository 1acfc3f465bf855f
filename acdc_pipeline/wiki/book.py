"""Chapters as files: all pages and data of one model."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment

from acdc_pipeline.store import Store, open_store
from acdc_pipeline.wiki.chapter import Chapter
from acdc_pipeline.wiki.files import Writer
from acdc_pipeline.wiki.manifest import Entry, digest_of
from acdc_pipeline.wiki.models import whole_model
from acdc_pipeline.wiki.pages.circuit import circuit_page
from acdc_pipeline.wiki.pages.head import head_pages
from acdc_pipeline.wiki.pages.model import model_page
from acdc_pipeline.wiki.render import environment
from acdc_pipeline.wiki.runs import read_whole
from acdc_pipeline.wiki.shards import (
    edges_parquet,
    json_bytes,
    model_document,
    page_document,
    scores_parquet,
    script_bytes,
)


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
