"""Pages of the site as a whole: home, list of models, about, search, comparison."""

from __future__ import annotations

from acdc_pipeline import __version__
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.page import Data, SinglePage, frame
from acdc_pipeline.wiki.pages.mosaics import mosaic_settings, panel_rows
from acdc_pipeline.wiki.pages.role import role_rows
from acdc_pipeline.wiki.pages.task import task_rows
from acdc_pipeline.wiki.scores import group_by_task
from acdc_pipeline.wiki.site import Site, SiteScore
from acdc_pipeline.wiki.text import pluralize

FIRST = "induction"
"""The score of the mosaic shown first."""


class HomePage(SinglePage):
    """The home page."""

    template = "home.html"
    path = "index.html"

    def data(self, _: None) -> Data:
        site = self.site
        first = _first_score(site)
        return {
            **frame(0, "Every attention head of every model"),
            **mosaic_settings(site),
            "counts": [
                pluralize(len(site.models), "model"),
                pluralize(site.heads, "head"),
                pluralize(site.circuits, "circuit"),
                pluralize(len(site.tasks), "task"),
            ],
            "first": None if first is None else {**_score(first), "scale": first.scale},
            "panels": [] if first is None else panel_rows(site, first.metric),
            "choices": [
                {"title": title, "scores": [_score(site.scores[metric]) for metric in metrics]}
                for title, metrics in group_by_task(site.scores).items()
            ],
            "kinds": [row for row in role_rows(site) if row["heads"]],
            "profiled": site.profiled,
            "tasks": task_rows(site),
            "empty": not site.models,
            "store": site.store,
        }


class ModelListPage(SinglePage):
    """The list of models."""

    template = "models.html"
    path = "m/index.html"

    def data(self, _: None) -> Data:
        first = _first_score(self.site)
        pictures = {} if first is None else self.site.mosaics(first.metric)
        return {
            **frame(1, "Models", ("Models", None)),
            "rows": [
                {**_model(model), "picture": pictures.get(model.slug)} for model in self.site.models
            ],
            "first": None if first is None else first.definition.title,
        }


class AboutPage(SinglePage):
    """What the site was built from, and how to read it."""

    template = "about.html"
    path = "about.html"

    def data(self, _: None) -> Data:
        site = self.site
        return {
            **frame(0, "About this wiki", ("About", None)),
            "version": site.version,
            "code_version": __version__,
            # the date of the newest run, not of the build, which is thus reproducible
            "newest": None if site.newest is None else site.newest.isoformat(),
            "runs": site.runs,
            "models": len(site.models),
            "heads": site.heads,
            "circuits": site.circuits,
            "profiled": site.profiled,
            "damaged": list(site.damaged),
            "stray_notes": list(site.notes.strays),
        }


class SearchPage(SinglePage):
    """The search page, which a script fills."""

    template = "search.html"
    path = "search.html"

    def data(self, _: None) -> Data:
        return frame(0, "Search", ("Search", None))


class ComparePage(SinglePage):
    """The comparison of two heads, which a script fills."""

    template = "compare.html"
    path = "compare.html"

    def data(self, _: None) -> Data:
        return frame(0, "Compare two heads", ("Compare", None))


def _first_score(site: Site) -> SiteScore | None:
    scores = list(site.scores.values())
    named = (score for score in scores if score.definition.name == FIRST)
    return next(named, scores[0] if scores else None)


def _score(score: SiteScore) -> Data:
    return {
        "metric": score.metric,
        "title": score.definition.title,
        "claim": score.definition.claim,
        "slug": score.slug,
    }


def _model(model: Model) -> Data:
    return {
        "title": model.title,
        "slug": model.slug,
        "family": model.family,
        "layers": model.n_layers,
        "heads": model.n_heads,
        "width": model.d_model,
        "scores": len(model.scores),
        "kinds": len({held.role for roles in model.roles.values() for held in roles}),
        "tasks": list(model.circuits),
    }
