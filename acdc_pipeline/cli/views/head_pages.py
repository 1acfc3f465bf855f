"""The addresses of heads in a wiki that is published somewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acdc_pipeline.regression.summary import HeadLink


def head_pages(url: str, models: Iterable[str]) -> HeadLink:
    """Gives the address of a head's page below `url`, and None for other nodes.

    Args:
        url: of the wiki's first page, or of its folder.
        models: references of the models that are asked for.
    """
    from acdc_pipeline.wiki.slug import assign_slugs

    base = url.removesuffix("index.html").rstrip("/")
    folders = assign_slugs(models, ("index",))

    def link(model: str, node: str) -> str | None:
        return f"{base}/m/{folders[model]}/{node}.html" if ".h" in node else None

    return link
