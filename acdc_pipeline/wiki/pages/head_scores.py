"""Tables of a head's scores: value, interval, rank, and a bar on the scale of the score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup, escape

from acdc_pipeline.plotting.scales import ScoreScale
from acdc_pipeline.specs.head_scores import ROLES, metric_key
from acdc_pipeline.wiki import text
from acdc_pipeline.wiki.models import HeadIndex
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.scores import family_of
from acdc_pipeline.wiki.site import RankedScore, Section

_MAX_TASKS = 4
"""Number of columns that fit into a narrow page."""

_MIN_BAR = 0.01
"""Length from which a bar is drawn in the table of tasks."""

_WITH_BAR = frozenset(("direct_effect", "zero_ablation", "mean_ablation", "corrupted_ablation"))
"""Scores on prompts that get a bar: effects on the logit of the answer."""

_MEASURED_ON: Mapping[str, str] = {
    "random tokens": "a beginning-of-text token, then a sequence of random tokens, repeated once",
    "weights": "computed from the matrices, without prompts",
    "backup": "with the outputs of the main heads of each kind set to zero",
}

_THRESHOLDS: Mapping[str, float] = {
    metric_key(role.required[0].score): role.required[0].least
    for role in ROLES.values()
    if role.on != "task" and role.required[0].of == "score"
}
"""Value from which a score gives a role."""

_TELLING = frozenset(
    criterion.score for role in ROLES.values() for criterion in (*role.required, *role.supporting)
)
"""Scores that roles depend on."""

_MAX_BEYOND = 8
"""Number of rows in the table of scores beyond their null."""


class ScoreTables:
    """The tables of scores of the heads of one model.

    Rows are made here and not in a template, because most of a site consists of them. Everything in
    them is a number, except the links, which are escaped.
    """

    def __init__(self, section: Section) -> None:
        self.section = section
        # the same on every page
        self._links = {
            ranked.site.slug: f"<th><a href=../../s/{ranked.site.slug}.html>"
            f"{escape(ranked.site.definition.title)}</a>"
            for ranked in section.ranked_scores
        }

        self._low_nulls: dict[str, float] = {}
        for profile in reversed(section.model.profiles):
            self._low_nulls |= profile.low_nulls

    def beyond(self, place: HeadIndex) -> Data | None:
        """Return a table of the scores that exceed their null and that roles depend on."""
        found = self._beyond(place)
        if not found:
            return None
        rows = []
        for ranked in found[:_MAX_BEYOND]:
            task = ranked.site.task
            rows.append(self._row(ranked, place, "" if task is None else f"<br>on {escape(task)}"))
        return {"rows": Markup("".join(rows)), "more": len(found) - _MAX_BEYOND}

    def _beyond(self, place: HeadIndex) -> list[RankedScore]:
        found = []
        for ranked in self.section.ranked_scores:
            about, value = ranked.site, float(ranked.values.values[place])
            if ranked.null is None or about.definition.name not in _TELLING:
                continue
            is_signed = about.definition.scale == "diverging"
            low = self._low_nulls.get(about.metric) if is_signed else None
            if exceeds_null(value, low, ranked.null):
                found.append(ranked)
        return found

    @property
    def any_threshold(self) -> bool:
        """Whether a bar has a mark where a role begins."""
        return any(ranked.site.metric in _THRESHOLDS for ranked in self.section.ranked_scores)

    def families(self, place: HeadIndex) -> list[Data]:
        """Return a table for every family of scores that need no task and that `beyond` lacks."""
        groups: dict[str, list[str]] = {}
        shown = {ranked.site.metric for ranked in self._beyond(place)[:_MAX_BEYOND]}
        for ranked in self.section.ranked_scores:
            if ranked.site.task is None and ranked.site.metric not in shown:
                row = self._row(ranked, place)
                groups.setdefault(family_of(ranked.site.definition), []).append(row)
        return [
            {
                "title": family.capitalize(),
                "measured_on": _MEASURED_ON.get(family, ""),
                "rows": Markup("".join(rows)),
            }
            for family, rows in groups.items()
        ]

    def tasks(self, place: HeadIndex) -> Data | None:
        """Return a table of the scores on prompts: a row for each score, a column for each task."""
        by_metric = {
            r.site.metric: r for r in self.section.ranked_scores if r.site.task is not None
        }
        tasks = sorted(
            {ranked.site.task for ranked in by_metric.values() if ranked.site.task},
            key=lambda task: self.section.model.task_rank(place, task),
        )
        if not tasks:
            return None
        shown = sorted(tasks[:_MAX_TASKS])
        slugs = {metric.partition(":")[0]: ranked.site.slug for metric, ranked in by_metric.items()}
        rows = []
        for key, slug in slugs.items():
            cells = (_cell(by_metric.get(f"{key}:{task}"), place) for task in shown)
            rows.append(f"<tr>{self._links[slug]}{''.join(cells)}")
        return {
            "tasks": shown,
            "more": len(tasks) - len(shown),
            "rows": Markup("".join(rows)),
        }

    def _row(self, ranked: RankedScore, place: HeadIndex, on: str = "") -> str:
        """Return a row: name, bar, value, interval, rank, percentile."""
        score, link = ranked.values, self._links[ranked.site.slug] + on
        value = float(score.values[place])
        if np.isnan(value):
            return f"<tr>{link}<td><td>{text.MISSING}"
        low, high = float(score.low[place]), float(score.high[place])
        ends = (
            ""
            if np.isnan(low)
            else (f"{text.format_aligned(low, 2)}…{text.format_aligned(high, 2)}")
        )
        drawn = _bar(value, ranked.site.scale, ranked.null, _THRESHOLDS.get(ranked.site.metric))
        label = ranked.site.percentiles.label(value)
        return (
            f"<tr>{link}<td{drawn}><td>{text.format_aligned(value)}<td>{ends}"
            f"<td>{ranked.ranks[place]}{label and f'<td>{label}'}"
        )


def exceeds_null(value: float, low: float | None, high: float) -> bool:
    """Whether a score is beyond its null, from the 1st (`low`) to the 99th percentile (`high`).

    Both count for a score that can be negative; None of `low` leaves negative values out. A null
    without 0, as of effects that nearly all heads have, bounds the other sign by its largest size:
    0 is never beyond it.
    """
    if low is None:
        return value > high
    return value > (high if high >= 0 else -low) or value < (low if low <= 0 else -high)


def _cell(ranked: RankedScore | None, place: HeadIndex) -> str:
    """Return a cell of the table of tasks: a value, and a bar below effects on logits."""
    value = float("nan") if ranked is None else float(ranked.values.values[place])
    if ranked is None or np.isnan(value):
        return f"<td>{text.MISSING}"
    scale = ranked.site.scale
    visible = abs(scale.position(value) - scale.zero) >= _MIN_BAR
    drawn = visible and ranked.site.definition.name in _WITH_BAR
    return f"<td{_bar(value, scale) if drawn else ''}>{text.format_aligned(value)}"


def _bar(
    value: float, scale: ScoreScale, null: float | None = None, threshold: float | None = None
) -> str:
    """Return attributes of a cell that has a bar from zero to `value`, in percent of the scale.

    With marks at the null and at the threshold of a role. A scale with both signs has class `s`.
    """
    marks = "" if null is None else f";--n:{_percent(scale, null)}"
    if threshold is not None:
        marks += f";--t:{_percent(scale, threshold)}"
    css = " class=s" if scale.low < 0 else ""
    return f"{css} style=--b:{_percent(scale, value)}{marks}"


def _percent(scale: ScoreScale, value: float) -> int:
    return round(100 * scale.position(value))
