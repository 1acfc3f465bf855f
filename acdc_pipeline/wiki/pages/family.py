"""The page of a family: kinds and heads over training, seeds or fine-tunes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from acdc_pipeline.plotting.axes import Axis
from acdc_pipeline.plotting.traces import Trace, draw_traces
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.families.declared import describe_shape
from acdc_pipeline.wiki.families.find import Family
from acdc_pipeline.wiki.families.tables import (
    kind_rows,
    matched_heads,
    strongest,
    traced_heads,
    traced_scores,
)
from acdc_pipeline.wiki.models import HeadIndex, head_name
from acdc_pipeline.wiki.page import Data, SinglePage, SitePage, frame
from acdc_pipeline.wiki.scores import definition_of
from acdc_pipeline.wiki.text import abbreviate, format_number, pluralize, show_line, show_name

NOUNS = {"checkpoints": "checkpoint", "seeds": "seed", "finetunes": "model"}

_MAX_PLOTS = 12
_MAX_STRONG = 4
_MAX_TRACES = 60
_MAX_TOLD = 8
"""Heads named in the description of a plot."""


class FamilyListPage(SinglePage):
    """The list of families."""

    template = "families.html"
    path = "f/index.html"
    scope = "scores"

    def data(self, _: None) -> Data:
        return {
            **frame(1, "Families", ("Models", "m/index.html"), ("Families", None)),
            "families": [
                (family, pluralize(len(family.members), NOUNS[family.kind]))
                for family in self.site.families
            ],
        }


class FamilyPage(SitePage[Family]):
    """The page of a family."""

    template = "family.html"
    scope = "families"

    def paths(self) -> Iterator[tuple[str, Family]]:
        for family in self.site.families:
            yield f"f/{family.slug}.html", family

    def data(self, family: Family) -> Data:
        traced, more = traced_heads(family) if family.same_heads else ([], 0)
        matched, agreement = ([], (0, 0)) if family.same_heads else matched_heads(family)
        trail = (("Models", "m/index.html"), ("Families", "f/index.html"), (family.name, None))
        return {
            **frame(1, f"{family.name}: {_TITLES[family.kind]}", *trail),
            "family": family,
            "heading": _TITLES[family.kind],
            "count": pluralize(len(family.members), NOUNS[family.kind]),
            "shape": describe_shape(family.members[0]),
            "columns": list(zip(family.labels, family.members, strict=True)),
            "kinds": kind_rows(family),
            "plots": _plots(family),
            "traced": traced,
            "more": more,
            "matched": matched,
            "agreement": agreement,
            "has_weights": any(c["weights"] is not None for row in traced for c in row["cells"]),
        }


_TITLES = {
    "checkpoints": "over training",
    "seeds": "from different seeds",
    "finetunes": "and its fine-tunes",
}


def _plots(family: Family) -> list[Data]:
    """Return a plot of the deciding score of each kind over the members."""
    x, places = _member_axis(family)
    out = []
    for role, on, metric, grids in list(traced_scores(family))[:_MAX_PLOTS]:
        traces = (_lines if family.same_heads else _dots)(family, role, on, grids)
        definition = definition_of(metric)
        title = ROLES[role].title.partition(" ")[2] + (f" on {on}" if on else "")
        values = [v for trace in traces for v in trace.values if v is not None]
        svg = draw_traces(
            traces,
            x,
            places,
            _score_axis(values, definition.low, definition.high),
            label=_describe(family, title, definition.title, traces),
            line=_threshold(role, metric),
            connected=family.same_heads,
        )
        out.append(
            {
                "role": ROLES[role],
                "title": title[:1].upper() + title[1:],
                "score": definition.title,
                "svg": Markup(svg),
            }
        )
    return out


Grids = Sequence[np.ndarray | None]


def _lines(family: Family, role: str, on: str | None, grids: Grids) -> list[Trace]:
    """Return the scores of each head over the members, those highest of the kind as strong."""
    strong = strongest(family, role, on, grids, _MAX_STRONG)
    largest = np.max([np.nan_to_num(np.abs(grid)) for grid in grids if grid is not None], axis=0)
    order = np.argsort(-largest, axis=None, kind="stable")[:_MAX_TRACES].tolist()
    shown = dict.fromkeys([*strong, *(divmod(i, largest.shape[1]) for i in order)])
    return [Trace(head_name(*place), _values(grids, place), place in strong) for place in shown]


def _dots(family: Family, role: str, on: str | None, grids: Grids) -> list[Trace]:
    """Return the scores of the heads of each member by themselves, those of the kind as strong."""
    traces = []
    for number, (model, grid) in enumerate(zip(family.members, grids, strict=True)):
        if grid is None:
            continue
        having = {
            place
            for place, every in model.roles.items()
            if any((held.role, held.on) == (role, on) for held in every)
        }
        order = np.argsort(-np.nan_to_num(np.abs(grid)), axis=None, kind="stable")[:_MAX_TRACES]
        shown = dict.fromkeys([*having, *(divmod(i, grid.shape[1]) for i in order.tolist())])
        for place in sorted(shown):
            values: list[float | None] = [None] * len(family.members)
            values[number] = _values([grid], place)[0]
            name = f"{family.labels[number]} {head_name(*place)}"
            traces.append(Trace(name, tuple(values), place in having))
    return traces


def _values(grids: Grids, place: HeadIndex) -> tuple[float | None, ...]:
    found = (None if grid is None else float(grid[place]) for grid in grids)
    return tuple(None if value is None or math.isnan(value) else value for value in found)


def _threshold(role: str, metric: str) -> float | None:
    """Return the value from which a head has a role; None for a share of the answer logit."""
    criterion = ROLES[role].required[0]
    if not metric.startswith(f"{criterion.score}@") or criterion.of != "score":
        return None
    return criterion.least


def _describe(family: Family, title: str, score: str, traces: Sequence[Trace]) -> str:
    """Say in words what a plot shows: the strongest heads with their values."""
    told = []
    for trace in traces:
        if trace.strong:
            values = (format_number(v, 2) for v in trace.values if v is not None)
            told.append(f"{trace.name} {', '.join(values)}")
    members = ", ".join(family.labels)
    return show_line(f"{score}, of each {title} ({members}): {'; '.join(told[:_MAX_TOLD])}.")


def _score_axis(values: Sequence[float], low: float | None, high: float | None) -> Axis:
    """Return an axis from 0, or below it, to a round number above all values."""
    top, bottom = max(0.0, *values), min(0.0, *values)
    if low == 0 and high == 1:
        top, bottom = 1.0, 0.0
    step = _round_step((top - bottom) or 1.0)
    first, last = math.floor(bottom / step), math.ceil(top / step)
    ticks = tuple((n * step, format_number(n * step, 3)) for n in range(first, last + 1))
    return Axis("", first * step, max(last, first + 1) * step, ticks)


def _round_step(span: float) -> float:
    """Return a round number of which `span` has two to five."""
    power = 10.0 ** math.floor(math.log10(span))
    return next(f * power for f in (0.2, 0.5, 1.0, 2.0) if span / (f * power) <= 5)


def _member_axis(family: Family) -> tuple[Axis, list[float]]:
    """Return the axis of the members, and where each is on it.

    Training steps have their distances, on a logarithmic axis where the largest is 20 times the
    smallest above 0 (step 0 is then left of it); other members stand side by side.
    """
    steps = family.steps
    if not steps:
        places = [float(number) for number in range(len(family.members))]
        labels = [show_name(label, 12) for label in family.labels]
        title = ""
    else:
        positive = [step for step in steps if step > 0]
        is_log = len(positive) > 1 and positive[-1] >= 20 * positive[0]
        places = [_log_place(step, positive[0]) if is_log else step for step in steps]
        labels = [abbreviate(step) for step in steps]
        title = "training step" + (", logarithmic" if is_log else "")
    low, high = places[0], places[-1]
    kept: list[tuple[float, str]] = []
    for place, label in reversed(list(zip(places, labels, strict=True))):
        if not kept or kept[-1][0] - place > 0.13 * (high - low):
            kept.append((place, label))
    pad = 0.0 if steps else 0.3
    return Axis(title, low - pad, high + pad, tuple(reversed(kept))), places


def _log_place(step: float, first: float) -> float:
    return math.log10(step) if step > 0 else math.log10(first) - 0.4
