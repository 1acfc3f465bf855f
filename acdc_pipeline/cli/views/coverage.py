"""Coverage: which classes of the installed libraries are reproduced, and why others are not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal import output
from acdc_pipeline.cli.terminal.text import wrap
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from acdc_pipeline.models.architectures.coverage import Coverage, Listing

_INDENT = "    "


def coverage_document(coverage: Coverage) -> dict[str, Any]:
    """Return the JSON document of a coverage."""
    return {
        "libraries": [
            {
                "library": listing.library,
                "version": listing.version,
                "classes": len(listing.classes),
                "problem": listing.problem,
            }
            for listing in coverage.listings
        ],
        "counts": {
            "reproduced": len(coverage.reproduced),
            "refused": len(coverage.refused),
            "unknown": len(coverage.unknown),
        },
        "reproduced": [
            {"class": name, "title": title, "listed_by": _listed_by(coverage, name)}
            for name, title in coverage.reproduced.items()
        ],
        "refused": [
            {"class": name, "reason": reason, "listed_by": _listed_by(coverage, name)}
            for name, reason in coverage.refused.items()
        ],
        "unknown": [
            {"class": name, "listed_by": _listed_by(coverage, name)} for name in coverage.unknown
        ],
    }


def print_coverage(coverage: Coverage) -> None:
    """Print the classes by reason, those of most classes first, and the counts behind them."""
    for reason, names in coverage.by_reason().items():
        _print_group(f"refused ({len(names)}): {reason}", names)
    if coverage.unknown:
        _print_group(
            f"unknown ({len(coverage.unknown)}): nobody has looked at them", coverage.unknown
        )
    _print_group(f"reproduced ({len(coverage.reproduced)})", coverage.reproduced)
    total = len(coverage.reproduced) + len(coverage.refused) + len(coverage.unknown)
    output.print_facts(
        {
            **{listing.library: _listing_text(listing) for listing in coverage.listings},
            "reproduced": f"{len(coverage.reproduced)} of {pluralize(total, 'name')} "
            "that either lists",
            "refused": f"{len(coverage.refused)}, each for a reason above",
            "unknown": str(len(coverage.unknown) or "none"),
        }
    )


def _print_group(head: str, names: Iterable[str]) -> None:
    width = output.terminal_width()
    output.print_line(wrap(head, width, _INDENT))
    for line in wrap(_INDENT + ", ".join(names), width, _INDENT).splitlines():
        output.print_line(line)
    output.print_line("")


def _listing_text(listing: Listing) -> str:
    if listing.version is None:
        return str(listing.problem)
    found = listing.problem or pluralize(len(listing.classes), "name")
    return f"{listing.version}: {found}"


def _listed_by(coverage: Coverage, name: str) -> list[str]:
    return [listing.library for listing in coverage.listings if name in listing.classes]
