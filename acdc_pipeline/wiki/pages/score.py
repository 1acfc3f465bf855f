"""The page of a score: its definition, a mosaic of every model, and the highest values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.page import Data, SinglePage, SitePage, frame
from acdc_pipeline.wiki.pages.mosaics import leader_rows, mosaic_settings
from acdc_pipeline.wiki.scores import group_by_family
from acdc_pipeline.wiki.site import Site, SiteScore

_MAX_ROWS = 20


class ScoreListPage(SinglePage):
    """The list of scores."""

    template = "scores.html"
    path = "s/index.html"

    def data(self, _: None) -> Data:
        groups = {
            family: [
                (members[0], _count_models(self.site, members))
                for members in _group_by_task(self.site.scores[metric] for metric in metrics)
            ]
            for family, metrics in group_by_family(self.site.scores).items()
        }
        return {**frame(1, "Scores", ("Scores", None)), "groups": groups}


class ScorePage(SitePage[list[SiteScore]]):
    """The page of a score."""

    template = "score.html"
    scope = "scores"

    def paths(self) -> Iterator[tuple[str, list[SiteScore]]]:
        for members in _group_by_task(self.site.scores.values()):
            yield f"s/{members[0].slug}.html", members

    def data(self, members: list[SiteScore]) -> Data:
        site, definition = self.site, members[0].definition
        signed = definition.low is None or definition.low < 0
        return {
            **frame(1, definition.title, ("Scores", "s/index.html"), (definition.title, None)),
            **mosaic_settings(site),
            "definition": definition,
            "roles": [
                role
                for role in ROLES.values()
                if any(c.score == definition.name for c in (*role.required, *role.supporting))
            ],
            "mosaics": [
                (
                    score,
                    leader_rows(site, score.metric, _MAX_ROWS),
                    leader_rows(site, score.metric, _MAX_ROWS // 2, -1) if signed else [],
                )
                for score in members
            ],
        }


def _group_by_task(scores: Iterable[SiteScore]) -> list[list[SiteScore]]:
    groups: dict[str, list[SiteScore]] = {}
    for score in scores:
        groups.setdefault(score.metric.partition(":")[0], []).append(score)
    return list(groups.values())


def _count_models(site: Site, members: list[SiteScore]) -> int:
    metrics = {score.metric for score in members}
    return sum(not metrics.isdisjoint(model.scores) for model in site.models)
