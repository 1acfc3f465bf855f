"""The pages of the site. A page is one module here, a template, and one entry of `PAGES`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

from jinja2 import Environment

from acdc_pipeline.wiki.page import Page
from acdc_pipeline.wiki.pages.changes import ChangesPage
from acdc_pipeline.wiki.pages.circuit import CircuitPage
from acdc_pipeline.wiki.pages.family import FamilyListPage, FamilyPage
from acdc_pipeline.wiki.pages.groups import GroupsPage
from acdc_pipeline.wiki.pages.head import HeadPage
from acdc_pipeline.wiki.pages.home import (
    AboutPage,
    ComparePage,
    HomePage,
    ModelListPage,
    ScatterPage,
    SearchPage,
)
from acdc_pipeline.wiki.pages.model import ModelPage
from acdc_pipeline.wiki.pages.model_scores import ModelScoresPage
from acdc_pipeline.wiki.pages.natural import TextPage
from acdc_pipeline.wiki.pages.role import RoleListPage, RolePage
from acdc_pipeline.wiki.pages.score import ScoreListPage, ScorePage
from acdc_pipeline.wiki.pages.task import TaskListPage, TaskPage
from acdc_pipeline.wiki.pages.universality import UniversalityPage
from acdc_pipeline.wiki.site import Section, Site

PAGES: tuple[type[Page[Any]], ...] = (
    HomePage,
    ModelListPage,
    ModelPage,
    GroupsPage,
    ModelScoresPage,
    HeadPage,
    TextPage,
    FamilyListPage,
    FamilyPage,
    RoleListPage,
    RolePage,
    UniversalityPage,
    ScoreListPage,
    ScorePage,
    TaskListPage,
    TaskPage,
    CircuitPage,
    AboutPage,
    ChangesPage,
    SearchPage,
    ComparePage,
    ScatterPage,
)


def render_pages(
    scope: Literal["site", "scores", "families", "model"],
    subject: Site | Section,
    templates: Environment,
    only: Collection[str] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every page of a scope, or of those whose path is in `only`.

    The subject is a Section for the scope `model`, a Site for the others.
    """
    for kind in PAGES:
        if kind.scope == scope:
            page, template = kind(subject), templates.get_template(kind.template)
            for path, item in page.paths():
                if only is None or path in only:
                    yield path, template.render(page.data(item)).encode("utf-8")
