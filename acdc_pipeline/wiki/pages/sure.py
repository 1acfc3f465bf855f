"""How sure the sentence on a head is: sample, interval, null, evidence, other tasks and models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.head_scores import ROLES, SCORES, parse_metric
from acdc_pipeline.wiki.models import HeadIndex, Model, primary_metric
from acdc_pipeline.wiki.neighbours import SimilarHead
from acdc_pipeline.wiki.pages.statement import Statement
from acdc_pipeline.wiki.scores import evidence_word
from acdc_pipeline.wiki.site import Section
from acdc_pipeline.wiki.text import format_fixed, join_words, pluralize, show_name

_MEANINGS = {
    "weights": "by its weights, on no text",
    "attention": "attention, not what it causes",
    "direct effect": "direct effect, measured without removing it",
    "causal": "causal, activations were replaced",
}
"""What a kind of evidence amounts to, weakest first."""

_SAMPLES = {"random tokens": "random sequence", "backup": "random sequence", "weights": "token"}
"""Noun for a sample of a family of scores; of those on tasks it is an answer."""

_MAX_TASKS = 3
_LONGEST = 24
"""Characters of the name of a task."""


def describe_certainty(section: Section, place: HeadIndex, statement: Statement) -> str:
    """Return the facts that bound what a sentence claims; empty where it claims nothing.

    `causal, activations were replaced; 64 answers on ioi; 95 % interval 1.93 to 2.30; chance up to
    0.24 (99th percentile, other answers); also on docstring, not on induction.`
    """
    model, metric, role = section.model, statement.metric, statement.role
    score = None if metric is None else model.scores.get(metric)
    if metric is None or score is None:
        return ""
    if statement.shifted is not None:
        return f"{_MEANINGS['attention']}; one text, and no null of this place was measured"
    name, _, task = parse_metric(metric)
    parts = [_evidence(role)]
    if score.n:
        noun = "answer" if task is not None else _SAMPLES[SCORES[name].family]
        parts.append(
            pluralize(score.n, noun) + ("" if task is None else f" on {show_name(task, _LONGEST)}")
        )
    low, high = float(score.low[place]), float(score.high[place])
    if np.isfinite(low):
        parts.append(f"95 % interval {format_fixed(low)} to {format_fixed(high)}")
    kinds = join_words(list(SCORES[name].nulls))
    if kinds and metric in model.nulls:
        reach, null, at = "up to", model.nulls[metric], "99th"
        if statement.value < 0:
            lows = (p.low_nulls[metric] for p in model.profiles if metric in p.low_nulls)
            reach, null, at = "down to", next(lows, float("nan")), "1st"
        parts.append(f"chance {reach} {format_fixed(null)} ({at} percentile, {kinds})")
    parts += _elsewhere(model, place, role)
    if role is not None:
        parts += describe_alike(role, section.nearest.get(place, ()))
    return "; ".join(parts)


def describe_alike(role: HeadRole, near: Sequence[SimilarHead]) -> list[str]:
    """Say how many of the nearest heads have a role; nothing of a role on a task."""
    if role.on is not None or not near:
        return []
    alike = sum(ROLES[role.role].title in one.roles for one in near)
    return [f"{alike} of its {len(near)} nearest heads in other models behave alike"]


def _evidence(role: HeadRole | None) -> str:
    """Say what the deciding score is evidence of, and what other evidence there is."""
    if role is None:
        return _MEANINGS["attention"]
    first = ROLES[role.role].required[0].evidence
    word = evidence_word(first, role.role)
    others = [evidence_word(level, role.role) for level in role.evidence if level != first]
    return f"{word}, and {join_words(others)}" if others else _MEANINGS[word]


def _elsewhere(model: Model, place: HeadIndex, role: HeadRole | None) -> list[str]:
    """Say on which other tasks a head has its role, and on which it does not."""
    if role is None or role.on is None:
        return []
    held = {one.on for one in model.roles.get(place, ()) if one.role == role.role}
    others = [
        profile.task
        for profile in model.profiles
        if profile.task != role.on and primary_metric(role.role, profile.task) in model.scores
    ]
    others = sorted(set(others))[:_MAX_TASKS]
    also, without = (
        [show_name(task, _LONGEST) for task in others if (task in held) is has]
        for has in (True, False)
    )
    notes = [f"also on {join_words(also)}"] if also else []
    return notes + (["not on " + " or ".join(without)] if without else [])
