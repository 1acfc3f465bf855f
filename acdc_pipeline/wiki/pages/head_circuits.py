"""The circuits that a head is in, as its page tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from acdc_pipeline.wiki.chapter import Chapter
from acdc_pipeline.wiki.questions import EdgeKey, Question

Facts = dict[str, Any]

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
