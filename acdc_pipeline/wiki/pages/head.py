"""The page of a head: what it behaves as, on which evidence, and where it is used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from acdc_pipeline.heads.near_misses import summary as roles_sentence
from acdc_pipeline.specs.head_scores import ROLES, metric_key
from acdc_pipeline.wiki import numbers
from acdc_pipeline.wiki.circuits import EdgeKey, Question
from acdc_pipeline.wiki.models import HeadIndex, head_name
from acdc_pipeline.wiki.numbers import counted, joined, number
from acdc_pipeline.wiki.page import frame
from acdc_pipeline.wiki.pages.head_examples import (
    direction_facts,
    pattern_facts,
    snippet_facts,
)
from acdc_pipeline.wiki.pages.head_scores import bar
from acdc_pipeline.wiki.scores import family_of
from acdc_pipeline.wiki.site import Chapter, Measure

Facts = dict[str, Any]

_HOW: Mapping[str, str] = {
    "random tokens": "a beginning-of-text token, then random tokens said twice",
    "weights": "read from the matrices, without a prompt",
    "backup": "while the main heads of each kind write nothing",
}


_MOST_TASKS = 4
"""Columns that a narrow page holds."""

_DRAWN = frozenset(("direct_effect", "zero_ablation", "mean_ablation", "corrupted_ablation"))
"""Scores on prompts that get a bar: effects on the answer's logit, side by side."""

_LINES: Mapping[str, float] = {
    metric_key(role.required[0].score): role.required[0].least
    for role in ROLES.values()
    if role.on != "task" and role.required[0].of == "score"
}
"""Scores that give a role by themselves, and from which value on."""


def head_pages(chapter: Chapter, only: frozenset[str] | None = None) -> Iterator[tuple[str, Facts]]:
    """The facts of every head's page by name, layer by layer.

    Args:
        chapter: the model.
        only: heads by name; None means all.
    """
    model = chapter.model
    names = [head_name(*place) for place in np.ndindex(model.n_layers, model.n_heads)]
    # The same on every page: made once.
    links = {measure.slug: _link(measure) for measure in chapter.measures}
    for index, place in enumerate(np.ndindex(model.n_layers, model.n_heads)):
        if only is not None and names[index] not in only:
            continue
        beside = {
            "prev": names[index - 1] if index else None,
            "next": names[index + 1] if index + 1 < len(names) else None,
        }
        yield names[index], beside | _page(chapter, (place[0], place[1]), links)


def _link(measure: Measure) -> Markup:
    """A score in the first column of a table."""
    return Markup('<th><a href="../../s/{}.html">{}</a>').format(
        measure.slug, measure.definition.title
    )


def _page(chapter: Chapter, place: HeadIndex, links: Mapping[str, Markup]) -> Facts:
    model = chapter.model
    name = head_name(*place)
    circuits = circuits_of(chapter, name)
    trail = (("Models", "m/index.html"), (model.title, f"m/{model.slug}/index.html"), (name, None))
    groups: dict[str, list[str]] = {}
    for measure in chapter.measures:
        if measure.task is None:
            row = _score(measure, place, links[measure.slug])
            groups.setdefault(family_of(measure.definition), []).append(row)
    return {
        **frame(2, f"{name} in {model.title}", *trail),
        "name": name,
        "slug": model.slug,
        "model": model.title,
        "layer": place[0],
        "head": place[1],
        "n_layers": model.n_layers,
        "n_heads": model.n_heads,
        "summary": summary(chapter, place),
        "note": None if name not in chapter.notes else Markup(chapter.notes[name]),
        "roles": _roles(chapter, place),
        "scores": [
            {
                "title": family.capitalize(),
                "how": _HOW.get(family, ""),
                "rows": Markup("\n".join(rows)),
            }
            for family, rows in groups.items()
        ],
        "any_line": any(measure.metric in _LINES for measure in chapter.measures),
        "on_tasks": _on_tasks(chapter, place, links, {circuit["task"] for circuit in circuits}),
        "circuits": circuits,
        "patterns": pattern_facts(model, place),
        "snippets": snippet_facts(model, place),
        "directions": direction_facts(model, place),
        "claims": chapter.claims.get(place, ()),
        "nearest": chapter.nearest.get(place, ()),
        "caveats": _caveats(chapter),
        "version": model.data_version,
        "coverage": _coverage(chapter, len(circuits)),
    }


def _roles(chapter: Chapter, place: HeadIndex) -> list[Facts]:
    return [
        {
            "role": held.role,
            "title": ROLES[held.role].title,
            "task": None if held.on is None else task_facts(chapter, held.on),
            "value": held.value,
            "rank": held.rank,
            "of": held.of,
            "evidence": list(held.evidence),
        }
        for held in chapter.model.roles.get(place, ())
    ]


def task_facts(chapter: Chapter, task: str) -> Facts:
    """A task as a page of the model links to it."""
    return {
        "name": task,
        "slug": chapter.tasks[task].slug,
        "has_circuit": task in chapter.model.questions,
    }


def _score(measure: Measure, place: HeadIndex, link: Markup) -> str:
    """A row: name, bar, value and interval, rank, standing.

    Made here and not in a template, for most of a site consists of such rows. But for `link` there
    is nothing in it that could hold markup.
    """
    score = measure.score
    value = float(score.values[place])
    if np.isnan(value):
        return f"<tr>{link}<td><td>{numbers.NONE}<td><td>"
    low, high = float(score.low[place]), float(score.high[place])
    drawn = bar(value, measure.ruler, measure.null, _LINES.get(measure.metric))
    ends = f"{numbers.brief(low)}…{numbers.brief(high)}"
    interval = "" if np.isnan(low) else f" <small>{ends}</small>"
    return (
        f"<tr>{link}<td>{drawn}<td>{numbers.aligned(value)}{interval}"
        f"<td>{measure.ranks[place]}<td>{measure.standing.says(value)}"
    )


def _on_tasks(
    chapter: Chapter, place: HeadIndex, links: Mapping[str, Markup], inside: set[str]
) -> Facts | None:
    """Scores on prompts: a row a score, a column a task.

    Of many tasks those come first on which the head has a role, then those whose circuit it is in.
    """
    cells = {m.metric: m for m in chapter.measures if m.task is not None}
    roles = {held.on for held in chapter.model.roles.get(place, ())}
    tasks = sorted(
        {task for measure in cells.values() if (task := measure.task)},
        key=lambda task: (task not in roles, task not in inside, task),
    )
    if not tasks:
        return None
    shown = sorted(tasks[:_MOST_TASKS])
    rows = {measure.metric.partition(":")[0]: measure.slug for measure in cells.values()}
    return {
        "tasks": [task_facts(chapter, task) for task in shown],
        "more": len(tasks) - len(shown),
        "rows": Markup("\n").join(
            Markup("<tr>")
            + links[slug]
            + _cells([cells.get(f"{key}:{task}") for task in shown], place)
            for key, slug in rows.items()
        ),
    }


def _cells(measures: Iterable[Measure | None], place: HeadIndex) -> Markup:
    """A cell a task: numbers and bars, nothing that could hold markup."""
    return Markup("".join(f"<td>{_cell(measure, place)}" for measure in measures))


def _cell(measure: Measure | None, place: HeadIndex) -> str:
    value = float("nan") if measure is None else float(measure.score.values[place])
    if measure is None or np.isnan(value):
        return numbers.NONE
    scale = measure.ruler
    # next to nothing needs no bar, and most heads do next to nothing on most tasks
    visible = abs(scale.position(value) - scale.zero) >= 0.01
    drawn = visible and measure.definition.name in _DRAWN
    return numbers.aligned(value) + (bar(value, scale) if drawn else "")


def _caveats(chapter: Chapter) -> list[str]:
    model = chapter.model
    if not model.scores:
        return [
            "This model was not profiled (acdc heads MODEL does it): its heads have no scores, "
            "and no roles."
        ]
    if not model.nulls:
        return ["No null was measured in this model, so no role is given."]
    told = "“Behaves as” is about what was measured; on other texts a head may do other things."
    return [told, *(f"{warning[:1].upper()}{warning[1:]}." for warning in model.warnings)]


def _coverage(chapter: Chapter, circuits: int) -> str:
    model = chapter.model
    tasks = numbers.counted(len(model.questions), "task")
    return f"{numbers.counted(len(model.scores), 'score')}, in {circuits} of {tasks}"


_MOST = 8
"""Edges listed on either side; the task's page has them all."""


def circuits_of(chapter: Chapter, name: str) -> list[Facts]:
    """A part of the page for every task in whose largest circuit the head called `name` is."""
    return [
        _circuit(chapter, question, name, at)
        for task, (question, *_) in chapter.model.questions.items()
        if (at := question.heads.get(name)) is not None
    ]


def _circuit(chapter: Chapter, question: Question, name: str, at: tuple[bool, ...]) -> Facts:
    cut = question.survives(at)
    assert cut is not None
    named = f"τ = {cut.label}" if question.has_thresholds else f"{cut.label} edges"
    least = question.cuts[0] is cut
    return {
        "task": question.task,
        "slug": chapter.tasks[question.task].slug,
        "cuts": [
            {"label": cut.label, "there": there}
            for cut, there in zip(question.cuts, at, strict=True)
        ],
        "says": f"In the circuit up to {named}"
        + (", the most demanding cut there is." if least and len(at) > 1 else "."),
        "sides": [
            side
            for side in (
                _side(question, "Reads from", question.arriving.get(name, ()), 0),
                _side(question, "Read by", question.leaving.get(name, ()), 1),
            )
            if side["edges"]
        ],
    }


def _side(question: Question, title: str, keys: Sequence[EdgeKey], end: int) -> Facts:
    """The edges on one side: those that survive longest first, then those of largest score."""

    def rank(key: EdgeKey) -> tuple[int, float]:
        return question.presence[key].index(True), -abs(question.score(key) or 0.0)

    ranked = sorted(keys, key=rank)
    return {
        "title": title,
        "edges": [
            (key[end], key[2], question.cuts[question.presence[key].index(True)].label)
            for key in ranked[:_MOST]
        ],
        "more": max(0, len(ranked) - _MOST),
    }


_MOST_ROLES = 3
_MOST_CIRCUITS = 4
_TOP = ("top 1\N{NARROW NO-BREAK SPACE}%", "lowest 1\N{NARROW NO-BREAK SPACE}%")

# Longest first, so that no title is found inside another.
_TITLES = re.compile(
    "|".join(re.escape(t) for t in sorted((r.title for r in ROLES.values()), key=len, reverse=True))
)


def summary(chapter: Chapter, place: HeadIndex) -> list[tuple[str, bool]]:
    """What is known about a head ("behaves as", never "is"), in pieces, some of which
    are set in bold."""
    return _pieces(f"{_scores(chapter, place)} {_circuits(chapter, place)}")


def _scores(chapter: Chapter, place: HeadIndex) -> str:
    if not chapter.model.scores:
        return "Its scores were not measured."
    held = chapter.model.roles.get(place, ())
    told = roles_sentence(held[:_MOST_ROLES], chapter.model.near_misses.get(place))
    if len(held) > _MOST_ROLES:
        told += f" {counted(len(held) - _MOST_ROLES, 'more role')} below."
    elif (
        not held
        and place not in chapter.model.near_misses
        and (best := _most_remarkable(chapter, place))
    ):
        told += f" Most remarkable is {best}."
    return told


def _most_remarkable(chapter: Chapter, place: HeadIndex) -> str:
    """The first score in which the head is in the top or lowest 1 % of all heads."""
    for measure in chapter.measures:
        value = float(measure.score.values[place])
        if measure.task is None and not np.isnan(value):
            says = measure.standing.says(value)
            if says in _TOP:
                title = measure.definition.title
                lower = title[:1].lower() + title[1:]
                return f"{lower}, {number(value)}, in the {says} of all heads"
    return ""


def _circuits(chapter: Chapter, place: HeadIndex) -> str:
    questions = chapter.model.questions
    if not questions:
        return "No circuit was searched for in this model."
    name = head_name(*place)
    inside = []
    for task, (question, *_) in questions.items():
        at = question.heads.get(name)
        if at is not None and (cut := question.survives(at)) is not None:
            until = f"up to τ = {cut.label}" if question.has_thresholds else f"at {cut.label} edges"
            inside.append(f"{task} ({until})")
    if not inside:
        return f"In no circuit of {joined(list(questions))}."
    shown = inside[:_MOST_CIRCUITS]
    if len(inside) > len(shown):
        shown.append(f"{len(inside) - len(shown)} more")
    return f"In the {'circuit' if len(inside) == 1 else 'circuits'} of {joined(shown)}."


def _pieces(text: str) -> list[tuple[str, bool]]:
    """The titles of roles stand out."""
    pieces: list[tuple[str, bool]] = []
    last = 0
    for found in _TITLES.finditer(text):
        pieces += [(text[last : found.start()], False), (found[0], True)]
        last = found.end()
    return [*pieces, (text[last:], False)]
