"""The page of what changed, and its feeds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from acdc_pipeline.wiki.history.changes import Change
from acdc_pipeline.wiki.history.feeds import (
    ATOM_PATH,
    JSON_PATH,
    PAGE,
    atom,
    changes_document,
    feed_document,
    headline,
    sentences,
    versions_document,
)
from acdc_pipeline.wiki.model_data import encode_json, encode_script
from acdc_pipeline.wiki.page import Data, SinglePage, frame
from acdc_pipeline.wiki.site import Site

_MOST = 300
"""Changes on the page; the data has all."""


class ChangesPage(SinglePage):
    """What the runs of each day added."""

    template = "changes.html"
    path = PAGE

    def data(self, _: None) -> Data:
        changes = self.site.changes
        days: dict[date, list[Change]] = {}
        for change in changes[:_MOST]:
            days.setdefault(change.day, []).append(change)
        return {
            **frame(0, "What changed", ("What changed", None)),
            "days": [
                {
                    "date": day.isoformat(),
                    "version": members[0].site_version,
                    "changes": [
                        {
                            "change": change,
                            "headline": headline(change),
                            "lines": list(sentences(change)),
                        }
                        for change in members
                    ],
                }
                for day, members in days.items()
            ],
            "more": max(0, len(changes) - _MOST),
            "site": self.site,
        }


def change_files(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the changes as data and as feeds."""
    feed = feed_document(site.changes)
    yield JSON_PATH, encode_json(feed)
    yield ATOM_PATH, atom(feed)
    yield "data/changes.json", encode_json(changes_document(site.changes))
    yield "data/versions.js", encode_script("versions", versions_document(site.changes))
