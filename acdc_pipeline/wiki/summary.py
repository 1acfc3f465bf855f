"""What a head's page says first: its roles in one sentence, its circuits in another."""

from __future__ import annotations

import re

import numpy as np

from acdc_pipeline.heads.summary import summary as roles_sentence
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.chapter import Chapter
from acdc_pipeline.wiki.models import head_name
from acdc_pipeline.wiki.numbers import counted, joined, number
from acdc_pipeline.wiki.roles import HeadIndex

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
