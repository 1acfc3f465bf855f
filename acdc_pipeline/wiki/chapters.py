"""All chapters of a site: those that differ from what is there are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment

from acdc_pipeline.store import Store
from acdc_pipeline.wiki.book import (
    Delivery,
    Draft,
    Order,
    completed,
    deliver,
    pack,
    stamp,
    write,
)
from acdc_pipeline.wiki.files import Writer
from acdc_pipeline.wiki.manifest import Entry, Manifest
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.workers import carried_out

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
        full = chapter if store.place.folder else completed(chapter, store)
        todo.append(Draft(pack(full), files_now, moved))
    heads = sum(c.model.total_heads for c, whole in zip(chapters, same, strict=True) if not whole)
    heads += sum(_READING + len(draft.heads) for draft in todo if draft.heads)
    written, done = 0, 0
    for delivery in _delivered(
        _orders(todo, out, store.place.folder, jobs), templates, jobs if heads > _FEW_HEADS else 1
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
