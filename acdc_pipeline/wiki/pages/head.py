"""The page of a head: its roles with their evidence, its scores, and the circuits it is in."""

from __future__ import annotations

from collections.abc import Iterator, Set

from markupsafe import Markup

from acdc_pipeline.wiki.circuits import CircuitSeries, find_weakness
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name, neighbour
from acdc_pipeline.wiki.page import Data, SectionPage, frame
from acdc_pipeline.wiki.pages.circuit import circuit_warnings
from acdc_pipeline.wiki.pages.groups import others_in_group
from acdc_pipeline.wiki.pages.head_examples import (
    direction_rows,
    partner_rows,
    pattern_rows,
    snippet_rows,
    span_rows,
)
from acdc_pipeline.wiki.pages.head_feeds import describe_weakness, find_readers
from acdc_pipeline.wiki.pages.head_parts import part_rows, tasks_at_place
from acdc_pipeline.wiki.pages.head_scores import ScoreTables
from acdc_pipeline.wiki.pages.head_typical import typical_data
from acdc_pipeline.wiki.pages.natural import text_summary
from acdc_pipeline.wiki.pages.statement import make_statement, other_roles
from acdc_pipeline.wiki.pages.sure import describe_certainty
from acdc_pipeline.wiki.scores import label_metrics, only_metrics
from acdc_pipeline.wiki.site import Section
from acdc_pipeline.wiki.text import join_words, pluralize

_MAX_CIRCUITS = 4
"""Number of circuits named in the summary."""


class HeadPage(SectionPage[HeadIndex]):
    """The page of a head."""

    template = "head.html"

    def __init__(self, section: Section) -> None:
        super().__init__(section)
        self.scores = ScoreTables(section)
        self.readers = find_readers(section.model)

    def paths(self) -> Iterator[tuple[str, HeadIndex]]:
        model = self.section.model
        for place in model.places:
            yield f"m/{model.slug}/{head_name(*place)}.html", place

    def data(self, place: HeadIndex) -> Data:
        section, model = self.section, self.section.model
        name = head_name(*place)
        trail = (("Models", "m/index.html"), (model.title, f"m/{model.slug}/index.html"))
        statement = make_statement(model, place)
        partners = partner_rows(model, place)
        roles = model.roles.get(place, ())
        circuits = [
            _circuit(section, series, name)
            for series, *_ in model.circuits.values()
            if name in series.heads
        ]
        beyond = self.scores.beyond(place)
        beyond_metrics = set() if beyond is None else beyond["metrics"]
        return {
            **frame(2, f"{name} in {model.title}", *trail, (name, None)),
            "name": name,
            "model": model,
            "layer": place[0],
            "head": place[1],
            "prev": neighbour(model, place, -1),
            "next": neighbour(model, place, 1),
            "statement": statement.text,
            "sure": describe_certainty(section, place, statement),
            "shown": typical_data(model, place, statement),
            "in_circuits": _summarize_circuits(section, place),
            "warnings": [f"{c['task']}: {line}" for c in circuits for line in c["warnings"]],
            "note": Markup(section.notes[name]) if name in section.notes else None,
            "roles": roles,
            "tasks": section.tasks,
            "beyond": beyond,
            "scores": bool(section.ranked_scores),
            "any_line": self.scores.any_threshold,
            "task_numbers": self.scores.shown_tasks(place),
            "circuits": circuits,
            "where": span_rows(section, place),
            "partners": partners,
            "parts_of_page": part_rows(section, place, statement, partners, self.readers),
            "at_places": tasks_at_place(model, place),
            "also": [] if statement.role is None else other_roles(roles, statement.role),
            "patterns": pattern_rows(model, place),
            "snippets": snippet_rows(model, place),
            "on_text": text_summary(model, place),
            "directions": direction_rows(model, place),
            "claims": section.claims.get(place, ()),
            "nearest": section.nearest.get(place, ()),
            "relatives": section.relatives,
            "group": others_in_group(model, place),
            "caveats": _caveats(section, {role.metric for role in roles} | beyond_metrics),
            "version": model.data_version,
            "coverage": _coverage(model, len(circuits)),
        }


def _coverage(model: Model, inside: int) -> str:
    scores = pluralize(len(model.scores), "score")
    if not model.circuits:
        return scores
    return f"{scores}, in circuits of {inside} of {pluralize(len(model.circuits), 'task')}"


def _summarize_circuits(section: Section, place: HeadIndex) -> str:
    circuits = section.model.circuits
    if not circuits:
        return "No circuit was searched for in this model."
    inside = []
    for task, (series, *_) in circuits.items():
        cut = series.smallest_with_head(head_name(*place))
        if cut is not None:
            least, several = find_weakness(series), series.has_thresholds or len(series.cuts) > 1
            notes = [f"{_until(series)} {series.describe(cut)}"] if several else []
            notes += [] if least is None else [describe_weakness(least)]
            inside.append(f"{task} ({'; '.join(notes)})" if notes else task)
    if not inside:
        return f"In no circuit of {join_words(list(circuits))}."
    shown = inside[:_MAX_CIRCUITS]
    if len(inside) > len(shown):
        shown.append(f"{len(inside) - len(shown)} more")
    return f"In the {'circuit' if len(inside) == 1 else 'circuits'} of {join_words(shown)}."


def _until(series: CircuitSeries) -> str:
    return "up to" if series.has_thresholds else "at"


def _circuit(section: Section, series: CircuitSeries, name: str) -> Data:
    """Return the part of the page about one task whose largest circuit contains the head."""
    cut = series.smallest_with_head(name)
    assert cut is not None
    several = len(series.cuts) > 1
    is_first = series.cuts[0] is cut
    smallest = "the largest threshold" if series.has_thresholds else "the smallest"
    return {
        "task": series.task,
        "slug": section.tasks[series.task].slug,
        "warnings": circuit_warnings(series, section.tasks[series.task]),
        "cuts": [
            {"label": (series.label if several else series.describe)(cut), "inside": inside}
            for cut, inside in zip(series.cuts, series.heads[name], strict=True)
        ],
        "text": f"In the circuit {_until(series)} {series.describe(cut)}"
        + (f", {smallest} searched." if is_first else "."),
    }


def _caveats(section: Section, shown: Set[str]) -> list[str]:
    """Return what limits the page, and of the nulls that are too high those of `shown` scores."""
    model = section.model
    if not model.scores:
        return [
            "Its heads have no scores and no roles, because the model was not profiled; "
            "acdc heads MODEL does that."
        ]
    if not model.nulls:
        return ["The heads have no roles, because no null was measured in this model."]
    general = "“Behaves as” refers to the measurements; on other texts a head may act differently."
    about = (only_metrics(warning, shown) for warning in model.warnings)
    warnings = (label_metrics(warning) for warning in about if warning)
    return [general, *(f"{warning[:1].upper()}{warning[1:]}." for warning in warnings)]
