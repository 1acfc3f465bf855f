"""The home page, and the list of models."""

from __future__ import annotations

from typing import Any

from acdc_pipeline import __version__
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.numbers import counted
from acdc_pipeline.wiki.page import frame
from acdc_pipeline.wiki.pages.mosaics import cell_size, is_linked, panels
from acdc_pipeline.wiki.pages.role import kind_index
from acdc_pipeline.wiki.pages.task import task_index
from acdc_pipeline.wiki.scores import by_family, definition_of, task_of
from acdc_pipeline.wiki.site import Site

Facts = dict[str, Any]

FIRST = "induction"
"""The score of the first mosaic: the one that the first induction mosaic showed."""


def home_page(site: Site) -> Facts:
    """The facts of the home page."""
    first = _first(site)
    return frame(0, "Every attention head of every model") | {
        "counts": [
            counted(len(site.models), "model"),
            counted(site.heads, "head"),
            counted(site.circuits, "circuit"),
            counted(len(site.tasks), "task"),
        ],
        "first": None
        if first is None
        else {
            "metric": first,
            "title": definition_of(first).title,
            "claim": definition_of(first).claim,
            "slug": site.score_slugs[definition_of(first).name],
            "scale": site.rulers[first],
        },
        "cell": cell_size(site),
        "linked": is_linked(site),
        "panels": [] if first is None else panels(site, first, ""),
        "choices": _choices(site),
        "kinds": [row for row in kind_index(site)["rows"] if row["heads"]],
        "profiled": sum(bool(model.scores) for model in site.models),
        "tasks": task_index(site)["rows"],
        "empty": not site.models,
        "store": site.store,
    }


def model_index(site: Site) -> Facts:
    """The facts of the list of models."""
    first = _first(site)
    tiles = {} if first is None else {panel["slug"]: panel for panel in panels(site, first, "../")}
    return frame(1, "Models", ("Models", None)) | {
        "rows": [_row(model, tiles.get(model.slug)) for model in site.models],
        "first": None if first is None else definition_of(first).title,
    }


def _first(site: Site) -> str | None:
    """The score whose mosaic is shown first, None where nothing was scored."""
    named = [metric for metric in site.metrics if definition_of(metric).name == FIRST]
    return next(iter([*named, *site.metrics]), None)


def _choices(site: Site) -> list[Facts]:
    """Every score for the switcher, by what it is measured on."""
    groups: dict[str, list[Facts]] = {}
    for family, metrics in by_family(site.metrics).items():
        for metric in metrics:
            definition, task = definition_of(metric), task_of(metric)
            groups.setdefault(family if task is None else f"on {task}", []).append(
                {
                    "metric": metric,
                    "title": definition.title,
                    "claim": definition.claim,
                    "slug": site.score_slugs[definition.name],
                }
            )
    plain = [title for title in groups if not title.startswith("on ")]
    return [{"title": title, "scores": groups[title]} for title in dict.fromkeys([*plain, *groups])]


def _row(model: Model, panel: Facts | None) -> Facts:
    kinds = {held.role for roles in model.roles.values() for held in roles}
    return {
        "title": model.title,
        "slug": model.slug,
        "family": model.family,
        "layers": model.n_layers,
        "heads": model.n_heads,
        "width": model.d_model,
        "size": model.size,
        "scores": len(model.scores),
        "kinds": len(kinds),
        "tasks": list(model.questions),
        "panel": panel,
    }


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
