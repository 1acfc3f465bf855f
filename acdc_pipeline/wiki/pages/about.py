"""What the site is and was built from, how to read it; and the pages that programs fill."""

from __future__ import annotations

from typing import Any

from acdc_pipeline import __version__
from acdc_pipeline.wiki.pages.frame import frame
from acdc_pipeline.wiki.site import Site

Facts = dict[str, Any]


def about_page(site: Site) -> Facts:
    """The facts of the page about the site."""
    return frame(0, "About this wiki", ("About", None)) | build_facts(site)


def build_facts(site: Site) -> Facts:
    """What was built from what; the date is that of the newest run, so that building is exact."""
    return {
        "version": site.version,
        "code_version": __version__,
        "newest": None if site.newest is None else site.newest.isoformat(),
        "store": site.store,
        "runs": site.runs,
        "models": len(site.models),
        "heads": site.heads,
        "circuits": site.circuits,
        "profiled": sum(bool(model.scores) for model in site.models),
        "damaged": list(site.damaged),
        "stray_notes": list(site.notes.strays),
    }


def search_page() -> Facts:
    """The facts of the search page."""
    return frame(0, "Search", ("Search", None))


def compare_page() -> Facts:
    """The facts of the page that compares two heads."""
    return frame(0, "Compare two heads", ("Compare", None))
