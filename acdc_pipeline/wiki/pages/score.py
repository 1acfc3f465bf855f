"""The page of a score: its definition, a mosaic of every model, and the highest values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from acdc_pipeline.specs.head_scores import NULLS, ROLES, ScoreDefinition
from acdc_pipeline.wiki.page import Data, Page, SinglePage, frame
from acdc_pipeline.wiki.pages.mosaics import (
    leader_rows,
    mosaic_settings,
    panel_rows,
)
from acdc_pipeline.wiki.scores import group_by_family
from acdc_pipeline.wiki.site import Site, SiteScore
from acdc_pipeline.wiki.tasks import arxiv_url

_MAX_ROWS = 20


class ScoreListPage(SinglePage):
    """The list of scores."""

    template = "scores.html"
    path = "s/index.html"

    def data(self, _: None) -> Data:
        groups = {
            family: [
                _row(self.site, members)
                for members in _group_by_task(self.site.scores[metric] for metric in metrics)
            ]
            for family, metrics in group_by_family(self.site.scores).items()
        }
        return {**frame(1, "Scores", ("Scores", None)), "groups": groups}


class ScorePage(Page[list[SiteScore]]):
    """The page of a score."""

    template = "score.html"
    scope = "scores"

    def __init__(self, site: Site) -> None:
        self.site = site

    def paths(self) -> Iterator[tuple[str, list[SiteScore]]]:
        for members in _group_by_task(self.site.scores.values()):
            yield f"s/{members[0].slug}.html", members

    def data(self, members: list[SiteScore]) -> Data:
        site, definition = self.site, members[0].definition
        signed = definition.low is None or definition.low < 0
        return {
            **frame(1, definition.title, ("Scores", "s/index.html"), (definition.title, None)),
            **mosaic_settings(site),
            "definition": definition_data(definition),
            "roles": [
                {"role": role.name, "title": role.title}
                for role in ROLES.values()
                if any(c.score == definition.name for c in (*role.required, *role.supporting))
            ],
            "mosaics": [
                {
                    "task": score.task,
                    "task_slug": site.tasks[score.task].slug if score.task else "",
                    "metric": score.metric,
                    "scale": score.scale,
                    "population": score.percentiles.population,
                    "panels": panel_rows(site, score.metric),
                    "leaders": leader_rows(site, score.metric, _MAX_ROWS),
                    "lowest": leader_rows(site, score.metric, _MAX_ROWS // 2, -1) if signed else [],
                }
                for score in members
            ],
        }


def definition_data(definition: ScoreDefinition) -> Data:
    """Return the definition of a score."""
    sources = [part.strip() for part in definition.source.split(";") if part.strip()]
    return {
        "key": definition.key,
        "title": definition.title,
        "claim": definition.claim,
        "formula": definition.formula,
        "sign": definition.sign,
        "family": definition.family if definition.formula else "",
        "sources": [{"text": text, "url": arxiv_url(text)} for text in sources],
        "nulls": [{"name": null, "text": NULLS[null]} for null in definition.nulls],
    }


def _group_by_task(scores: Iterable[SiteScore]) -> list[list[SiteScore]]:
    """Group scores that differ in their tasks only."""
    groups: dict[str, list[SiteScore]] = {}
    for score in scores:
        groups.setdefault(score.metric.partition(":")[0], []).append(score)
    return list(groups.values())


def _row(site: Site, members: list[SiteScore]) -> Data:
    definition, metrics = members[0].definition, {score.metric for score in members}
    return {
        "title": definition.title,
        "slug": members[0].slug,
        "name": definition.name,
        "claim": definition.claim,
        "models": sum(not metrics.isdisjoint(model.scores) for model in site.models),
    }
