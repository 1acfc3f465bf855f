"""The table of a head's scores beyond chance: value, interval, rank, and a bar on their scale."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from markupsafe import Markup, escape

from acdc_pipeline.plotting.scales import ScoreScale
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki import text
from acdc_pipeline.wiki.models import HeadIndex
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.score_tables import THRESHOLDS, task_names
from acdc_pipeline.wiki.scores import Percentiles
from acdc_pipeline.wiki.site import RankedScore, Section, SiteScore

_MAX_TASKS = 4
"""Number of columns that fit into a narrow page."""

_TELLING = frozenset(
    criterion.score for role in ROLES.values() for criterion in (*role.required, *role.supporting)
)
"""Scores that roles depend on."""

_MAX_BEYOND = 8
"""Number of rows in the table of scores beyond their null."""


class ScoreTables:
    """The scores beyond chance of the heads of one model, and what the table of all others needs.

    Rows are made here and not in a template, because most of a site consists of them. Everything in
    them is a number, except the links, which are escaped.

    Attributes:
        any_threshold: whether a bar has a mark where a role begins.
    """

    def __init__(self, section: Section) -> None:
        self.section = section
        # the same on every page
        self._links = {ranked.site.metric: _link(ranked.site) for ranked in section.ranked_scores}
        self._tasks = task_names(section)
        self.any_threshold = any(r.site.metric in THRESHOLDS for r in section.ranked_scores)
        low_nulls: dict[str, float] = {}
        for profile in reversed(section.model.profiles):
            low_nulls |= profile.low_nulls
        # the scores that can give a role, with both ends of their nulls
        self._telling: list[tuple[RankedScore, float | None, float]] = []
        for ranked in section.ranked_scores:
            about = ranked.site
            if ranked.null is not None and about.definition.name in _TELLING:
                is_signed = about.definition.scale == "diverging"
                low = low_nulls.get(about.metric) if is_signed else None
                self._telling.append((ranked, low, ranked.null))

    def beyond(self, place: HeadIndex) -> Data | None:
        """Return a table of the scores that exceed their null and that roles depend on."""
        found = [
            ranked
            for ranked, low, high in self._telling
            if exceeds_null(float(ranked.values.values[place]), low, high)
        ]
        if not found:
            return None
        rows = [self._row(ranked, place) for ranked in found[:_MAX_BEYOND]]
        return {
            "rows": Markup("".join(rows)),
            "more": len(found) - _MAX_BEYOND,
            "metrics": {ranked.site.metric for ranked in found[:_MAX_BEYOND]},
        }

    def shown_tasks(self, place: HeadIndex) -> list[int]:
        """Return the tasks in the table of scores on prompts, as numbers of `task_names`."""
        found = sorted(self._tasks, key=lambda task: self.section.model.task_rank(place, task))
        return sorted(map(self._tasks.index, found[:_MAX_TASKS]))

    def _row(self, ranked: RankedScore, place: HeadIndex) -> str:
        """Return a row: name, bar, value, interval, rank, percentile."""
        score, link = ranked.values, self._links[ranked.site.metric]
        value = float(score.values[place])
        if np.isnan(value):
            return f"<tr>{link}<td><td>{text.MISSING}<td><td><td>"
        low, high = float(score.low[place]), float(score.high[place])
        ends = f"{text.format_aligned(low, 2)}…{text.format_aligned(high, 2)}"
        interval = "" if np.isnan(low) else ends
        drawn = _bar(value, ranked.site.scale, ranked.null, THRESHOLDS.get(ranked.site.metric))
        return (
            f"<tr>{link}<td{drawn}><td>{text.format_aligned(value)}<td>{interval}"
            f"<td>{ranked.ranks[place]}<td>{ranked.site.percentiles.label(value)}"
        )


def find_relabelled(
    section: Section, before: Mapping[str, Percentiles]
) -> dict[HeadIndex, dict[str, str]]:
    """Return the heads whose place among all heads is another than with earlier percentiles.

    With the new text for each metric that roles depend on.
    """
    found: dict[HeadIndex, dict[str, str]] = {}
    for metric, about in section.scores.items():
        old, new = before[metric], about.percentiles
        if about.definition.name not in _TELLING or old.bounds == new.bounds:
            continue
        values = section.model.scores[metric].values
        changed = old.rank_labels(values) != new.rank_labels(values)
        for layer, head in np.argwhere(changed).tolist():
            text = new.label(float(values[layer, head]))
            found.setdefault((layer, head), {})[metric] = text
    return found


def replace_labels(page: bytes, section: Section, labels: Mapping[str, str]) -> bytes | None:
    """Return the page of a head with other places among all heads, by metric, in its table.

    None where that is not sure to be what rendering it gives.
    """
    for metric, label in labels.items():
        first = re.escape(f"<tr>{_link(section.scores[metric])}".encode())
        row = rb"(" + first + rb"<td[^<>]*><td>[^<]*<td>[^<]*<td>\d+<td>)[^<\n]*"
        text = label.encode()
        page, rows = re.subn(row, lambda found, text=text: found[1] + text, page)
        if rows > 1:
            return None
    return page


def _link(score: SiteScore) -> str:
    """Return the first cell of a row: the title of a score with its task."""
    on = "" if score.task is None else f"<br>on {escape(score.task)}"
    return f"<th><a href=../../s/{score.slug}.html>{escape(score.definition.title)}</a>{on}"


def exceeds_null(value: float, low: float | None, high: float) -> bool:
    """Whether a score is beyond its null, from the 1st (`low`) to the 99th percentile (`high`).

    Both count for a score that can be negative; None of `low` leaves negative values out. A null
    without 0, as of effects that nearly all heads have, bounds the other sign by its largest size:
    0 is never beyond it.
    """
    if low is None:
        return value > high
    return value > (high if high >= 0 else -low) or value < (low if low <= 0 else -high)


def _bar(value: float, scale: ScoreScale, null: float | None, threshold: float | None) -> str:
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
