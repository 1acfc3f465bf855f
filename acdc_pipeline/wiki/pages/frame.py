"""What every page has around its content: the way to the site's root, breadcrumbs, a title."""

from __future__ import annotations

from typing import Any

from acdc_pipeline.wiki.text import name


def frame(depth: int, title: str, *trail: tuple[str, str | None]) -> Any:
    """The facts that the base template needs.

    Args:
        depth: folders between the page and the site's root.
        title: of the page; any text.
        trail: text and address (relative to the root) of each step from the home page to here;
            the last is this page and has no address.
    """
    root = "../" * depth
    crumbs = [{"text": "Home", "href": f"{root}index.html"}]
    crumbs += [
        {"text": name(text, 40), "href": None if href is None else root + href}
        for text, href in trail
    ]
    return {
        "root": root,
        "title": name(title),
        "crumbs": crumbs if trail else [],
    }
