"""The tables of a model's scores, for the pages of heads that show them when they are opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from acdc_pipeline.specs.head_scores import ROLES, metric_key
from acdc_pipeline.wiki.model_data import encode_script, rounded_column
from acdc_pipeline.wiki.scores import family_of
from acdc_pipeline.wiki.site import RankedScore, Section, SiteScore

THRESHOLDS: Mapping[str, float] = {
    metric_key(role.required[0].score): role.required[0].least
    for role in ROLES.values()
    if role.on != "task" and role.required[0].of == "score"
}
"""Value from which a score gives a role."""

_INTERVAL_DIGITS = 2
"""Significant digits of the ends of an interval on a page."""

_WITH_BAR = frozenset(("direct_effect", "zero_ablation", "mean_ablation", "corrupted_ablation"))
"""Scores on prompts that get a bar: effects on the logit of the answer."""

_MEASURED_ON: Mapping[str, str] = {
    "random tokens": "a beginning-of-text token, then a sequence of random tokens, repeated once",
    "weights": "computed from the matrices, without prompts",
    "backup": "with the outputs of the main heads of each kind set to zero",
}


def table_files(section: Section) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the script, also for a model without scores."""
    name = f"tables/{section.model.slug}"
    yield f"data/{name}.js", encode_script(name, table_document(section))


def table_document(section: Section) -> dict[str, Any]:
    """Return what the tables say of each score, in the order of pages, beside its values.

    The values are in the script of the model. `groups` are titles of tables, each with what
    its scores are measured on; `tasks` are names, each with its address relative to the page of a
    head. A score on prompts has its task and whether it has a bar; any other its group, null,
    threshold, and the ends of intervals, head by head.
    """
    families = dict.fromkeys(
        family_of(ranked.site.definition)
        for ranked in section.ranked_scores
        if ranked.site.task is None
    )
    groups = {name: number for number, name in enumerate(families)}
    tasks = {name: number for number, name in enumerate(task_names(section))}
    return {
        "groups": [(name.capitalize(), _MEASURED_ON.get(name, "")) for name in groups],
        "tasks": [(name, _address(section, name)) for name in tasks],
        "scores": [_plain(ranked, groups, tasks) for ranked in section.ranked_scores],
    }


def percentile_document(scores: Iterable[SiteScore]) -> dict[str, Any]:
    """Return the bounds of the highest and lowest heads of all models, by metric.

    Not beside what else the tables say: they move when any model is added.
    """
    return {
        score.metric: {
            "top": score.percentiles.high,
            "lowest": score.percentiles.low,
            "median": score.percentiles.median,
        }
        for score in scores
        if score.task is None
    }


def task_names(section: Section) -> list[str]:
    """Return the tasks on whose prompts the model has scores, in the order of names."""
    return sorted({ranked.site.task for ranked in section.ranked_scores if ranked.site.task})


def _address(section: Section, task: str) -> str:
    page = section.model.slug if task in section.model.circuits else "index"
    return f"../../t/{section.tasks[task].slug}/{page}.html"


def _plain(
    ranked: RankedScore, groups: Mapping[str, int], tasks: Mapping[str, int]
) -> dict[str, Any]:
    site, score = ranked.site, ranked.values
    about = {
        "metric": site.metric,
        "title": site.definition.title,
        "page": site.slug,
        "scale": (site.scale.low, site.scale.high),
    }
    if site.task is not None:
        return {
            **about,
            "task": tasks[site.task],
            "drawn": site.definition.name in _WITH_BAR,
        }
    return {
        **about,
        "group": groups[family_of(site.definition)],
        "null": ranked.null,
        "line": THRESHOLDS.get(site.metric),
        "low": rounded_column(score.low, _INTERVAL_DIGITS),
        "high": rounded_column(score.high, _INTERVAL_DIGITS),
    }
