"""The page of a score: what it measures, the mosaic over models, and who leads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from acdc_pipeline.specs.head_scores import NULLS, ROLES, ScoreDefinition
from acdc_pipeline.wiki.page import frame
from acdc_pipeline.wiki.pages.mosaics import (
    Panels,
    cell_size,
    is_linked,
    leaders,
    tasks_measured,
)
from acdc_pipeline.wiki.scores import by_family, definition_of
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.tasks import address

Facts = dict[str, Any]

_LEADERS = 20


def score_pages(site: Site, panels: Panels) -> Iterator[tuple[str, Facts]]:
    """The facts of every score's page by slug."""
    for key in dict.fromkeys(metric.partition(":")[0] for metric in site.metrics):
        definition = definition_of(key)
        yield site.score_slugs[definition.name], _page(site, panels, key, definition)


def score_index(site: Site) -> Facts:
    """The facts of the list of scores."""
    groups: dict[str, list[Facts]] = {}
    for family, metrics in by_family(site.metrics).items():
        for key in dict.fromkeys(metric.partition(":")[0] for metric in metrics):
            definition = definition_of(key)
            groups.setdefault(family, []).append(
                {
                    "title": definition.title,
                    "slug": site.score_slugs[definition.name],
                    "name": definition.name,
                    "claim": definition.claim,
                    "models": len(_measured(site, key)),
                }
            )
    return frame(1, "Scores", ("Scores", None)) | {"groups": groups}


def definition_facts(definition: ScoreDefinition) -> Facts:
    """What a score is, for the pages that explain it."""
    sources = [part.strip() for part in definition.source.split(";") if part.strip()]
    return {
        "name": definition.name,
        "key": definition.key,
        "title": definition.title,
        "claim": definition.claim,
        "formula": definition.formula,
        "sign": definition.sign,
        "family": definition.family if definition.formula else "",
        "sources": [{"text": text, "url": address(text)} for text in sources],
        "nulls": [{"name": null, "says": NULLS[null]} for null in definition.nulls],
    }


def _page(site: Site, panels: Panels, key: str, definition: ScoreDefinition) -> Facts:
    root = "../"
    signed = definition.low is None or definition.low < 0
    parts = []
    for task, metric in tasks_measured(site, key).items():
        parts.append(
            {
                "task": task,
                "task_slug": site.tasks[task].slug if task else "",
                "metric": metric,
                "scale": site.rulers[metric],
                "among": site.standings[metric].among,
                "panels": panels[metric],
                "leaders": leaders(site, metric, root, _LEADERS),
                "lowest": leaders(site, metric, root, _LEADERS // 2, -1) if signed else [],
            }
        )
    return {
        **frame(1, definition.title, ("Scores", "s/index.html"), (definition.title, None)),
        "definition": definition_facts(definition),
        "roles": [
            {"role": role.name, "title": role.title}
            for role in ROLES.values()
            if any(c.score == definition.name for c in (*role.required, *role.supporting))
        ],
        "cell": cell_size(site),
        "linked": is_linked(site),
        "parts_": parts,
    }


def _measured(site: Site, key: str) -> set[str]:
    metrics = set(tasks_measured(site, key).values())
    return {model.slug for model in site.models if metrics & set(model.scores)}
