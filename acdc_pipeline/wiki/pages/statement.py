"""The sentence that says what a head does, made from its roles and scores.

A head with roles gets the sentence of one of them. A head without roles gets the place that it
attends to most, with the value from which a head has the role.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acdc_pipeline.heads.habits import (
    HABITS,
    habit_of,
    lead_role,
    strongest_habit,
    task_example,
)
from acdc_pipeline.heads.near_misses import NearMiss
from acdc_pipeline.heads.roles import HeadRole, criterion_metric
from acdc_pipeline.specs.head_scores import HEADROOM, ROLES, metric_key, parse_metric
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name
from acdc_pipeline.wiki.scores import evidence_word
from acdc_pipeline.wiki.text import format_fixed, format_signed, join_words
from acdc_pipeline.wiki.typical import Typical

_OF_ATTENTION = "{value} of its attention"
_MEASURES = {
    **dict.fromkeys((*HABITS, "attention_to_repeat"), _OF_ATTENTION),
    "attention_to_answer": "{value} of its attention on the answer",
    "direct_effect": "{signed} to the logit of the answer over wrong ones",
    "query_effect": "{signed} to the logit of the answer over wrong ones through the movers",
    "copy_attribution": "{signed} to the next token’s logit",
    "anti_induction": "takes {value} from the next token’s logit",
    "copy_at_5": "for {value} of all tokens",
    "suppress_at_5": "for {value} of all tokens",
    "successor": "for {value} of the words of ordered lists",
    "relation": "for {value} of the pairs",
    "backup_induction": "{signed} to the next token’s logit then",
    "backup_previous_token": "{signed} of attention then",
    "backup_duplicate_token": "{signed} of attention then",
    "backup_mover": "{signed} to the logit of the answer over wrong ones then",
}
"""How the value of a score is said. Scores that are left out are not said."""

_ABLATIONS = {
    "zero_ablation": "Setting its output to zero",
    "mean_ablation": "Setting its output to its mean",
}


@dataclass(frozen=True)
class Statement:
    """What a head does.

    Args:
        text: one or two sentences.
        metric: the score that decides; None for a head without scores.
        value: that score.
        role: the role that the sentence is about; None for a head without roles.
        example: the score whose attention, or effect, shows it in texts; None if none does.
    """

    text: str
    metric: str | None = None
    value: float = float("nan")
    role: HeadRole | None = None
    example: str | None = None


def make_statement(model: Model, place: HeadIndex) -> Statement:
    """Return the sentence about a head."""
    if not model.scores:
        return Statement("Its scores were not measured.")
    roles = model.roles.get(place, ())
    if roles:
        return _of_role(model, place, lead_role(roles))
    near = model.near_misses.get(place)
    values = {
        name: float(model.scores[key].values[place])
        for name in HABITS
        if (key := metric_key(name)) in model.scores
    }
    habit = strongest_habit(values)
    if habit is None:
        text = "No habit was found." if near is None else f"No clear habit. {_of_near_miss(near)}"
        return Statement(text, None if near is None else near.metric)
    return _of_habit(model, place, habit, near)


def _of_role(model: Model, place: HeadIndex, role: HeadRole) -> Statement:
    definition = ROLES[role.role]
    where = {"tokens": "on random tokens, ", "weights": "", "task": f"on {role.on}, "}
    measures = []
    for criterion in (*definition.required, *definition.supporting):
        is_support = criterion in definition.supporting
        if is_support and (criterion.evidence not in role.evidence or definition.on == "weights"):
            continue
        said = measure(model, place, criterion_metric(criterion, role.on))
        if said:
            measures.append(said)
    example = _example_metric(role)
    shown = find_typical(model, place, example)
    if shown is not None and shown.metric == example and _rests_on_first(shown, model, place):
        measures.append(f"{format_fixed(shown.first)} on the first token")
    text = (
        f"{definition.claim.rstrip('.')}; seen {where[definition.on]}"
        f"{_evidence(role)}; {', '.join(measures)}.{_removal(model, place, role)}"
    )
    return Statement(text, role.metric, role.value, role, example)


def _example_metric(role: HeadRole) -> str | None:
    """Return the score whose places show a role; None if no place does."""
    if role.on is not None:
        score = task_example([role])
        return None if score is None else metric_key(score, role.on)
    habit = habit_of(role)
    return None if habit is None else metric_key(habit)


def find_typical(model: Model, place: HeadIndex, metric: str | None) -> Typical | None:
    """Return the places near the mean of a score, else of where a head looks on random tokens."""
    found = [one for p in model.profiles for one in p.typical(head_name(*place))]
    habits = [one for one in found if parse_metric(one.metric)[0] in HABITS]
    return next((one for one in found if one.metric == metric), next(iter(habits), None))


def _rests_on_first(shown: Typical, model: Model, place: HeadIndex) -> bool:
    """Whether more attention goes to the first token than to what the score is about."""
    name = parse_metric(shown.metric)[0]
    score = model.scores.get(shown.metric)
    if score is None or name in ("sink", "direct_effect"):
        return False
    return shown.first > float(score.values[place])


def _removal(model: Model, place: HeadIndex, role: HeadRole) -> str:
    """Say what removing a head changes, if that is less than half of its direct effect.

    Of zero and mean ablation the one that changes more.
    """
    if role.on is None or parse_metric(role.metric)[0] != "direct_effect":
        return ""
    lost = {
        how: float(score.values[place])
        for name, how in _ABLATIONS.items()
        if (score := model.scores.get(metric_key(name, role.on))) is not None
        and np.isfinite(score.values[place])
    }
    how = max(lost, key=lambda how: abs(lost[how]), default=None)
    if how is None or abs(lost[how]) >= abs(role.value) / 2:
        return ""
    whole = (p.answer_logit for p in model.profiles if p.task == role.on)
    of = next((f" of {format_fixed(logit, 1)}" for logit in whole if logit is not None), "")
    return f" {how} changes that difference by only {format_signed(-lost[how])}{of}."


def _evidence(role: HeadRole) -> str:
    levels = join_words([evidence_word(level, role.role) for level in role.evidence])
    return f"in its {levels}" if role.evidence == ("weights",) else levels


def _of_habit(model: Model, place: HeadIndex, habit: str, near: NearMiss | None) -> Statement:
    metric = metric_key(habit)
    value = float(model.scores[metric].values[place])
    criterion = ROLES[habit].required[0]
    line, null = criterion.least, model.nulls.get(metric)
    if null is not None and null >= line:
        line = null + HEADROOM * (1.0 - null)
    reach = f"{ROLES[habit].title} has {format_fixed(line)} or more"
    if null is not None and value <= null:
        reach += f"; chance gives up to {format_fixed(null)}"
    text = (
        f"No clear habit: of the places measured it looks most at {HABITS[habit]} "
        f"({measure(model, place, metric)}; {reach})."
    )
    if near is not None and near.metric != metric:
        text += f" {_of_near_miss(near)}"
    return Statement(text, metric, value, example=metric)


def _of_near_miss(near: NearMiss) -> str:
    """`It comes near a copying head: for 0.40 of all tokens, where it has 0.50 or more.`"""
    score = parse_metric(near.metric)[0]
    title = ROLES[near.role].title
    where = "" if near.on is None else f" on {near.on}"
    template = _MEASURES.get(score, "{value}")
    said = template.format(value=format_fixed(near.value), signed=format_signed(near.value))
    line = format_signed(near.line) if "{signed}" in template else format_fixed(near.line)
    text = f"It comes near {title}{where}: {said}, where {title} has {line} or more"
    if near.null is not None and abs(near.value) <= abs(near.null):
        text += f", and chance gives {format_fixed(near.null)}"
    return f"{text}."


def measure(model: Model, place: HeadIndex, metric: str) -> str:
    """Say a score of a head: `0.70 ± 0.04 of its attention`; empty if it has none.

    The number after ± is half of the length of the bootstrap interval.
    """
    template, score = _MEASURES.get(parse_metric(metric)[0]), model.scores.get(metric)
    if template is None or score is None or np.isnan(value := float(score.values[place])):
        return ""
    half = float(score.high[place] - score.low[place]) / 2
    spread = "" if np.isnan(half) else f" ± {format_fixed(half)}"
    return template.format(value=format_fixed(value) + spread, signed=format_signed(value) + spread)
