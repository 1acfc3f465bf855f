"""Pages of the site as a whole: home, list of models, about, search, comparison."""

from __future__ import annotations

from acdc_pipeline import __version__
from acdc_pipeline.heads.habits import lead_place
from acdc_pipeline.wiki.dumps import DUMPS
from acdc_pipeline.wiki.page import Data, SinglePage, frame
from acdc_pipeline.wiki.pages.mosaics import mosaic_settings, telling_metric
from acdc_pipeline.wiki.pages.plain_names import plain_name
from acdc_pipeline.wiki.pages.role import role_rows
from acdc_pipeline.wiki.pages.search_words import example_queries
from acdc_pipeline.wiki.pages.task import task_rows
from acdc_pipeline.wiki.scores import group_by_task
from acdc_pipeline.wiki.site import Site, SiteScore

_KINDS_SHOWN = 8
"""Number of kinds of heads in the way in to them."""


class HomePage(SinglePage):
    """The home page."""

    template = "home.html"
    path = "index.html"

    def data(self, _: None) -> Data:
        site = self.site
        kinds = [row for row in role_rows(site) if row["heads"]]
        telling = sorted(kinds, key=lambda row: lead_place(row["role"].name))
        return {
            **frame(0, "Every attention head of every model"),
            **mosaic_settings(site),
            "site": site,
            "first": _first_score(site),
            "choices": {
                title: [site.scores[metric] for metric in metrics]
                for title, metrics in group_by_task(site.scores).items()
            },
            "front": {"head": None, "circuit": None, **site.front},
            "names": {model.slug: plain_name(model) for model in site.models},
            "kinds": kinds,
            "examples": " · ".join(example_queries(site)),
            "kinds_first": telling[:_KINDS_SHOWN],
            "tasks": task_rows(site),
        }


class ModelListPage(SinglePage):
    """The list of models."""

    template = "models.html"
    path = "m/index.html"

    def data(self, _: None) -> Data:
        first = _first_score(self.site)
        return {
            **frame(1, "Models", ("Models", None)),
            "models": self.site.models,
            "names": {model.slug: plain_name(model) for model in self.site.models},
            "first": first,
            "pictures": {} if first is None else self.site.mosaics(first.metric),
        }


class AboutPage(SinglePage):
    """What the site was built from, and how to read it."""

    template = "about.html"
    path = "about.html"

    def data(self, _: None) -> Data:
        return {
            **frame(0, "About this wiki", ("About", None)),
            "site": self.site,
            "dumps": DUMPS,
            "code_version": __version__,
            # the date of the newest run, not of the build, which is thus reproducible
            "newest": None if self.site.newest is None else self.site.newest.isoformat(),
        }


class SearchPage(SinglePage):
    """The search page, which a script fills."""

    template = "search.html"
    path = "search.html"

    def data(self, _: None) -> Data:
        examples = " · ".join(example_queries(self.site))
        return {**frame(0, "Search", ("Search", None)), "examples": examples}


class ComparePage(SinglePage):
    """The comparison of two heads, which a script fills."""

    template = "compare.html"
    path = "compare.html"

    def data(self, _: None) -> Data:
        return frame(0, "Compare two heads", ("Compare", None))


class ScatterPage(SinglePage):
    """The scatter of all heads by two scores, which a script fills."""

    template = "scatter.html"
    path = "scatter.html"

    def data(self, _: None) -> Data:
        return frame(0, "Any score against any other", ("Explore", None))


def _first_score(site: Site) -> SiteScore | None:
    return site.scores.get(telling_metric(site.models) or "") or next(
        iter(site.scores.values()), None
    )
