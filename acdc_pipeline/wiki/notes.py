"""Hand-written notes about heads and models, in Markdown without HTML."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs import find_project

FOLDER = Path("results", "notes")
MODEL = "index"
"""File of the note about a model: `index.md` in its folder."""

_MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Notes:
    """The notes of a site.

    Args:
        html: notes as HTML, by slug of the model and name of the head (or `index`).
        strays: files that belong to no model or head of the site.
    """

    html: Mapping[tuple[str, str], str]
    strays: tuple[str, ...]


def notes_folder() -> Path | None:
    """Return the notes folder of the current project; None if there is none."""
    project = find_project()
    folder = None if project is None else project / FOLDER
    return folder if folder is not None and folder.is_dir() else None


def read_notes(folder: Path | None, heads: Mapping[str, Collection[str]]) -> Notes:
    """Read the notes in a folder: `<model>/a5.h1.md` and `<model>/index.md`.

    Args:
        folder: None for no notes.
        heads: the names of the heads of each model, by its slug.

    Raises:
        InvalidInput: a note is not UTF-8 text, or is too long.
    """
    html: dict[tuple[str, str], str] = {}
    strays: list[str] = []
    for path in sorted(folder.glob("*/*.md")) if folder else ():
        slug = path.parent.name
        if slug in heads and (path.stem == MODEL or path.stem in heads[slug]):
            html[slug, path.stem] = to_html(_text(path))
        else:
            strays.append(f"{slug}/{path.name}")
    return Notes(html, tuple(strays))


def to_html(markdown: str) -> str:
    """Convert CommonMark with tables to HTML; raw HTML becomes text, images become links."""
    parser = _Parser("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(markdown.replace("\x00", "\ufffd"))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            # below the headings of the page
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    return parser.renderer.render(tokens, parser.options, {})


class _Parser(MarkdownIt):
    """CommonMark with links to relative paths, http, https and mailto only."""

    def validateLink(self, url: str) -> bool:  # noqa: N802  (name of the library)
        scheme, colon, _ = url.strip().lower().partition(":")
        return not colon or "/" in scheme or scheme in ("http", "https", "mailto")


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise InvalidInput("is too long for a note", where=str(path), allowed="at most 64 KiB")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput("cannot be read: is not UTF-8 text", where=str(path)) from error
