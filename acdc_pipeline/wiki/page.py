"""Templates -> pages. Everything that a page shows is escaped, and visible."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from latex2mathml.converter import convert
from markupsafe import Markup

from acdc_pipeline.plotting.heatmap import ThemedPicture
from acdc_pipeline.wiki import numbers, text
from acdc_pipeline.wiki.text import name

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
        "mathml": mathml,
        "background": background,
    }
    return made


def render(made: Environment, template: str, facts: Mapping[str, Any]) -> bytes:
    """A page as UTF-8."""
    return made.get_template(template).render(facts).encode("utf-8")


def background(picture: ThemedPicture) -> Markup:
    """A picture as custom properties of an element's style: one for each theme."""
    return Markup(f"--l:url({picture.light});--d:url({picture.dark})")


def _shown(value: Any) -> Any:
    """What a template puts out: markup as it is, text with nothing hidden in it."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return text.plain(value)
    return value


def mathml(latex: str) -> Markup:
    """`latex` as a `<math>` element, with the LaTeX as its description.

    Only formulas of this package come here, so the result counts as markup.
    """
    element = convert(latex, display="block")
    return Markup(re.sub(r"\s+", " ", element))


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
