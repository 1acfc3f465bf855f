"""Pages: which files they are, what data they show, and how a template turns that into HTML."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, ClassVar, Generic, Literal, TypeVar

from humanize import ordinal
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from latex2mathml.converter import convert
from markupsafe import Markup, escape

from acdc_pipeline.specs.head_scores import NULLS, ROLES
from acdc_pipeline.wiki import text
from acdc_pipeline.wiki.scores import EVIDENCE_WORDS, evidence_word
from acdc_pipeline.wiki.site import Section, Site
from acdc_pipeline.wiki.tasks import cite_sources

PACKAGE = "acdc_pipeline.wiki"

Data = dict[str, Any]
"""What a template receives."""

Item = TypeVar("Item")


class Page(ABC, Generic[Item]):
    """One kind of page, constructed from what its files are about.

    Attributes:
        template: file in `templates/`.
        scope: what the constructor takes, and what the pages depend on. `site`: a Site, anything
            in it. `scores`: a Site, but only its models, head scores and tasks, so that the pages
            are kept when only circuits changed. `families`: a Site, but only the members of each
            family. `model`: the Section of one model.
    """

    template: ClassVar[str]
    scope: ClassVar[Literal["site", "scores", "families", "model"]]

    @abstractmethod
    def __init__(self, subject: Any) -> None: ...

    @abstractmethod
    def paths(self) -> Iterator[tuple[str, Item]]:
        """Yield the path of every page below the root of the site, with the item it shows."""

    @abstractmethod
    def data(self, item: Item, /) -> Data:
        """Return the data of the page of `item`."""


class SitePage(Page[Item]):
    """A page about the whole site, or about something that several models have."""

    scope = "site"

    def __init__(self, site: Site) -> None:
        self.site = site


class SectionPage(Page[Item]):
    """A page about one model, or about a part of it."""

    scope = "model"

    def __init__(self, section: Section) -> None:
        self.section = section


class SinglePage(SitePage[None]):
    """A page of the whole site that is the only one of its kind, with its path below the root."""

    path: ClassVar[str]

    def paths(self) -> Iterator[tuple[str, None]]:
        yield self.path, None


def frame(depth: int, title: str, *trail: tuple[str, str | None]) -> Data:
    """Return the data of the base template.

    Args:
        depth: number of folders between the page and the root of the site.
        trail: breadcrumbs after the home page: text, and path below the root; None for the page
            itself, which comes last.
    """
    root = "../" * depth
    crumbs = [{"text": "Home", "href": f"{root}index.html"}]
    crumbs += [
        {"text": text.show_name(label, 40), "href": None if path is None else root + path}
        for label, path in trail
    ]
    return {"root": root, "title": text.show_name(title), "crumbs": crumbs if trail else []}


def load_templates() -> Environment:
    """Load the templates and their filters. Text is escaped and made visible on output."""
    environment = Environment(
        loader=FileSystemLoader(str(files(PACKAGE) / "templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_make_visible,
    )
    environment.globals |= {"ROLES": ROLES, "NULLS": NULLS, "EVIDENCE": EVIDENCE_WORDS}
    environment.filters |= {
        "number": text.format_number,
        "aligned": text.format_aligned,
        "fixed": text.format_fixed,
        "percent": text.format_percent,
        "ordinal": ordinal,
        "counted": text.pluralize,
        "name": text.show_name,
        "token": text.show_token,
        "words": text.show_words,
        "items": _list_items,
        "marked": _mark_pieces,
        "mathml": lambda latex: Markup(re.sub(r"\s+", " ", convert(latex, display="block"))),
        "background": lambda picture: Markup(picture.background),
        "cited": cite_sources,
        "evidence_word": evidence_word,
        "prose": show_prose,
        "bare": lambda title: re.sub(r"^an? ", "", title),
    }
    return environment


def show_prose(words: str) -> Markup:
    """Return text of a task as HTML: arrows for `->`, and code for what is between backticks."""
    plain = text.show_line(words).replace("->", "→")
    parts = [escape(part) for part in plain.split("`")]
    # a last backtick without a partner is a character like others
    if len(parts) % 2 == 0:
        parts[-2:] = [Markup("`").join(parts[-2:])]
    for index in range(1, len(parts), 2):
        parts[index] = Markup("<code>{}</code>").format(parts[index])
    return Markup("").join(parts)


def _list_items(texts: Sequence[str]) -> Markup:
    """Return texts as items of a list; here, because loops of templates are slow."""
    # a shown line has no line break
    shown = str(escape("\n".join(map(text.show_line, texts))))
    return Markup("<li>" + shown.replace("\n", "<li>")) if texts else Markup("")


def _mark_pieces(pieces: Sequence[tuple[str, str, int]]) -> Markup:
    """Return the pieces of a text, each with its mark (`query`, `key`, both) and shade."""
    parts = []
    for piece, mark, shade in pieces:
        words = escape(text.show_words(piece))
        if mark == "query":
            words = f"<mark>{words}</mark>"
        elif mark == "key":
            words = f"<u style=--a:{shade}%>{words}</u>"
        elif mark:
            words = f"<mark><u>{words}</u></mark>"
        elif shade:
            words = f"<i style=--a:{shade}%>{words}</i>"
        parts.append(words)
    return Markup("".join(parts))


def _make_visible(value: Any) -> Any:
    """Replace invisible characters in text; leave markup as it is."""
    # of the many texts of a page few are not printable
    if type(value) is str and not value.isprintable():
        return text.show_line(value)
    return value
