"""Hand-written notes about heads and models: Markdown, which never becomes markup of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from acdc_pipeline.errors import GraphError, InvalidInput
from acdc_pipeline.graph import Node
from acdc_pipeline.specs import find_project

FOLDER = Path("results", "notes")
MODEL = "index"
"""`index.md` in a model's folder is about the model as a whole."""

_LARGEST = 64 * 1024


@dataclass(frozen=True)
class Notes:
    """Notes by the slug of a model and the name of a head (or `index`), as HTML.

    Args:
        html: safe to put into a page: raw HTML in a note was shown as text.
        strays: files that belong to no model or head of the site.
    """

    html: Mapping[tuple[str, str], str]
    strays: tuple[str, ...]

    def about(self, slug: str, what: str) -> str | None:
        """The note, None where there is none."""
        return self.html.get((slug, what))


def notes_folder() -> Path | None:
    """Where the project at or above the working directory keeps notes; None if it keeps none."""
    project = find_project()
    folder = None if project is None else project / FOLDER
    return folder if folder is not None and folder.is_dir() else None


def read_notes(folder: Path | None, sizes: Mapping[str, tuple[int, int]]) -> Notes:
    """The notes in `folder`: `<model>/a5.h1.md` and `<model>/index.md`.

    Args:
        folder: None where there are none.
        sizes: layers and heads of each model by slug.

    Raises:
        InvalidInput: a note is no text, or longer than a note may be.
    """
    html: dict[tuple[str, str], str] = {}
    strays: list[str] = []
    for path in sorted(folder.glob("*/*.md")) if folder else ():
        slug = path.parent.name
        if slug in sizes and _is_about(path.stem, *sizes[slug]):
            html[slug, path.stem] = to_html(_text(path))
        else:
            strays.append(f"{slug}/{path.name}")
    return Notes(html, tuple(strays))


def to_html(markdown: str) -> str:
    """A note as HTML: CommonMark with tables; raw HTML is shown as text, pictures as links.

    Links lead where they say, in http, https or mailto only; nothing is loaded from elsewhere.
    """
    parser = _Parser("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(markdown.replace("\x00", "\ufffd"))
    _lower_headings(tokens)
    return parser.renderer.render(tokens, parser.options, {})


class _Parser(MarkdownIt):
    """CommonMark whose links lead to pages of this site or to the web, and nowhere else."""

    def validateLink(self, url: str) -> bool:  # noqa: N802  (the library's name)
        scheme, colon, _ = url.strip().lower().partition(":")
        return not colon or "/" in scheme or scheme in ("http", "https", "mailto")


def _lower_headings(tokens: list[Token]) -> None:
    """A note stands below headings of the page."""
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"


def _is_about(stem: str, n_layers: int, n_heads: int) -> bool:
    if stem == MODEL:
        return True
    try:
        node = Node.parse(stem)
    except GraphError:
        return False
    inside = (node.layer or 0) < n_layers and (node.head or 0) < n_heads
    return node.kind == "head" and inside and str(node) == stem


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise InvalidInput("is too long for a note", where=str(path), allowed="at most 64 KiB")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput("cannot be read: is not UTF-8 text", where=str(path)) from error
