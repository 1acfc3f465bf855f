"""The page of a score: its definition, a mosaic of every model, and the highest values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from acdc_pipeline.specs.head_scores import NULLS, ROLES, ScoreDefinition
from acdc_pipeline.wiki.page import Data, Page, SinglePage, frame
from acdc_pipeline.wiki.pages.mosaics import (
    leader_rows,
    metrics_by_task,
    mosaic_settings,
    panel_rows,
)
from acdc_pipeline.wiki.scores import definition_of, group_by_family
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.tasks import arxiv_url

_MAX_ROWS = 20


class ScoreListPage(SinglePage):
    """The list of scores."""

    template = "scores.html"
    path = "s/index.html"

    def data(self, _: None) -> Data:
        groups = {
            family: [_row(self.site, key) for key in _score_keys(metrics)]
            for family, metrics in group_by_family(self.site.metrics).items()
        }
        return {**frame(1, "Scores", ("Scores", None)), "groups": groups}


class ScorePage(Page[str]):
    """The page of a score."""

    template = "score.html"
    scope = "scores"

    def __init__(self, site: Site) -> None:
        self.site = site

    def paths(self) -> Iterator[tuple[str, str]]:
        for key in _score_keys(self.site.metrics):
            yield f"s/{self.site.score_slug(key)}.html", key

    def data(self, key: str) -> Data:
        site, definition = self.site, definition_of(key)
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
                    "task": task,
                    "task_slug": site.tasks[task].slug if task else "",
                    "metric": metric,
                    "scale": site.scales[metric],
                    "population": site.percentiles[metric].population,
                    "panels": panel_rows(site, metric),
                    "leaders": leader_rows(site, metric, _MAX_ROWS),
                    "lowest": leader_rows(site, metric, _MAX_ROWS // 2, -1) if signed else [],
                }
                for task, metric in metrics_by_task(site, key).items()
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


def _score_keys(metrics: Sequence[str]) -> list[str]:
    """Return the metrics without their tasks, each once."""
    return list(dict.fromkeys(metric.partition(":")[0] for metric in metrics))


def _row(site: Site, key: str) -> Data:
    definition = definition_of(key)
    metrics = set(metrics_by_task(site, key).values())
    return {
        "title": definition.title,
        "slug": site.score_slug(key),
        "name": definition.name,
        "claim": definition.claim,
        "models": sum(not metrics.isdisjoint(model.scores) for model in site.models),
    }
