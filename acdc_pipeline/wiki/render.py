"""Templates -> pages. Everything that a page shows is escaped, and visible."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from acdc_pipeline.wiki import formula, numbers, text
from acdc_pipeline.wiki.drawing.mosaic import Tile

PACKAGE = "acdc_pipeline.wiki"


def environment() -> Environment:
    """The templates with their filters; texts are escaped and made visible on their way out."""
    folder = str(files(PACKAGE) / "templates")
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_shown,
    )
    made.filters |= {
        "number": numbers.number,
        "aligned": numbers.aligned,
        "fixed": numbers.fixed,
        "percent": numbers.percent,
        "ordinal": numbers.ordinal,
        "counted": numbers.counted,
        "name": text.name,
        "token": text.token,
        "words": text.words,
        "arrows": lambda behaviour: behaviour.replace("->", "→"),
        "mathml": formula.mathml,
        "background": background,
    }
    return made


def render(made: Environment, template: str, facts: Mapping[str, Any]) -> bytes:
    """A page as UTF-8."""
    return made.get_template(template).render(facts).encode("utf-8")


def background(tile: Tile) -> Markup:
    """A picture as custom properties of an element's style: one for each theme."""
    return Markup(f"--l:url({tile.light});--d:url({tile.dark})")


def _shown(value: Any) -> Any:
    """What a template puts out: markup as it is, text with nothing hidden in it."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return text.plain(value)
    return value
