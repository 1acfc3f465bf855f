"""Chapters as files: all pages and data of one model."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment

from acdc_pipeline.wiki.chapter import Chapter
from acdc_pipeline.wiki.files import Writer
from acdc_pipeline.wiki.manifest import Entry, digest_of
from acdc_pipeline.wiki.pages.circuit import circuit_page
from acdc_pipeline.wiki.pages.head import head_pages
from acdc_pipeline.wiki.pages.model import model_page
from acdc_pipeline.wiki.render import environment
from acdc_pipeline.wiki.shards import (
    edges_parquet,
    json_bytes,
    model_document,
    page_document,
    scores_parquet,
    script_bytes,
)


@dataclass(frozen=True)
class Order:
    """What a worker is asked for.

    Args:
        out: the folder of the site.
        chapters: pickled chapters, each with what the last build wrote for it.
    """

    out: Path
    chapters: Sequence[tuple[bytes, dict[str, Entry]]]


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
    for blob, before in order.chapters:
        # it comes from the process that started this one
        chapter: Chapter = pickle.loads(blob)
        writer = Writer(order.out, before)
        slug = chapter.model.slug
        writer.page(templates, f"m/{slug}/index.html", "model.html", model_page(chapter))
        for name, facts in head_pages(chapter):
            writer.page(templates, f"m/{slug}/{name}.html", "head.html", facts)
        for task, (question, *others) in chapter.model.questions.items():
            facts = circuit_page(chapter, question, others)
            path = f"t/{chapter.tasks[task].slug}/{slug}.html"
            writer.page(templates, path, "circuit.html", facts)
        document = model_document(chapter)
        writer.data(f"data/{slug}.json", json_bytes(document))
        writer.data(f"data/{slug}.js", script_bytes(slug, json_bytes(page_document(document))))
        writer.data(f"data/{slug}.scores.parquet", scores_parquet(chapter.model))
        writer.data(f"data/{slug}.edges.parquet", edges_parquet(chapter.model))
        made.append(writer.entries)
        written += writer.written
    return Delivery(made, written)


def pack(chapter: Chapter) -> bytes:
    """A chapter on its way to a worker."""
    return pickle.dumps(chapter, protocol=pickle.HIGHEST_PROTOCOL)


def stamp(chapter: Chapter, program: str) -> str:
    """Changes when a chapter does: where it is the same, no page of it has to be looked at."""
    parts = (program, chapter.model.digest, chapter.identity)
    # a name from outside may hold half of a surrogate pair
    return digest_of(*(part.encode("utf-8", "surrogatepass") for part in parts))
