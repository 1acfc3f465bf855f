"""Pages of a wiki as tests read them: their elements, links and texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGEST_HEAD_PAGE = 25_000
"""Bytes; hosts limit files and sizes, and most pages are half as large."""

_VOID = {"meta", "link", "input", "br", "path", "rect", "circle", "line"}


@dataclass
class Element:
    """A start tag with its attributes."""

    tag: str
    attributes: dict[str, str | None]


@dataclass
class Page(HTMLParser):
    """A page taken apart by the standard library's parser."""

    path: Path
    elements: list[Element] = field(default_factory=list)
    text: str = ""
    scripts: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._inside = ""
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))
        self._inside = tag if tag not in _VOID else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.scripts += data.strip()
        else:
            self.text += data

    def all(self, tag: str) -> list[Element]:
        """Every element of a kind."""
        return [element for element in self.elements if element.tag == tag]

    @cached_property
    def ids(self) -> list[str]:
        """Every id of the page."""
        return [i for element in self.elements if (i := element.attributes.get("id"))]

    @cached_property
    def addresses(self) -> list[tuple[str, str, str]]:
        """Tag, attribute and value of everything that leads or loads somewhere."""
        names = ("href", "src", "action", "data", "poster", "srcset", "xlink:href")
        return [
            (element.tag, name, value)
            for element in self.elements
            for name in names
            if (value := element.attributes.get(name)) is not None
        ]


def pages_of(site: Path) -> dict[str, Page]:
    """Every page of a site by its path from the root."""
    return {path.relative_to(site).as_posix(): Page(path) for path in sorted(site.rglob("*.html"))}


def broken_links(site: Path, pages: dict[str, Page]) -> list[str]:
    """Addresses that lead to no file of the site, or to no place in a page of it."""
    ids = {name: set(page.ids) for name, page in pages.items()}
    broken = []
    for name, page in pages.items():
        for tag, attribute, value in page.addresses:
            parts = urlsplit(value)
            if parts.scheme or parts.netloc:
                if tag != "a" or attribute != "href" or parts.scheme not in ("https", "http"):
                    broken.append(f"{name}: <{tag} {attribute}={value[:60]}>")
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            if not target.is_file() or not target.is_relative_to(site.resolve()):
                broken.append(f"{name}: {value} is no file")
                continue
            inside = target.relative_to(site.resolve()).as_posix()
            if parts.fragment and inside in ids and parts.fragment not in ids[inside]:
                broken.append(f"{name}: {value} is no place in {inside}")
    return broken
