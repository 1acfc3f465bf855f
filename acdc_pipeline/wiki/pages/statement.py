"""The sentence that says what a head does, made from its roles and scores.

A head with roles gets the sentence of one of them. A head without roles gets the place that it
attends to most, with the value from which a head has the role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from acdc_pipeline.heads.habits import (
    HABITS,
    habit_of,
    lead_place,
    lead_role,
    strongest_habit,
    task_example,
)
from acdc_pipeline.heads.near_misses import NearMiss
from acdc_pipeline.heads.roles import HeadRole, criterion_metric
from acdc_pipeline.specs.head_scores import HEADROOM, ROLES, metric_key, parse_metric
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name
from acdc_pipeline.wiki.pages.measures import MEASURES, measure
from acdc_pipeline.wiki.pages.removal import (
    describe_dearest_removal,
    describe_effects,
    tells_orders,
    value_of,
)
from acdc_pipeline.wiki.scores import evidence_word
from acdc_pipeline.wiki.text import format_fixed, format_signed, join_words
from acdc_pipeline.wiki.typical import Typical, shift_typical

_EVEN, _SHARP = 0.8, 0.2
"""Normalised entropies from which attention is nearly even, and up to which it is on few tokens;
these are at none of the places if none has that much of the attention either."""


@dataclass(frozen=True)
class Statement:
    """What a head does.

    Args:
        text: one or two sentences.
        metric: the score that decides; None for a head without scores.
        value: that score.
        role: the role that the sentence is about; None for a head without roles.
        example: the score whose attention, or effect, shows it in texts; None if none does.
        shifted: of a head that looks a fixed number of tokens back, which no score is about, what
            `shift_typical` found.
    """

    text: str
    metric: str | None = None
    value: float = float("nan")
    role: HeadRole | None = None
    example: str | None = None
    shifted: tuple[int, float, Typical] | None = None


def make_statement(model: Model, place: HeadIndex) -> Statement:
    """Return the sentence about a head."""
    if not model.scores:
        return Statement("Its scores were not measured.")
    roles = model.roles.get(place, ())
    if roles:
        return describe_role(model, place, lead_role(roles))
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
    return _of_habit(model, place, habit, values, near)


def describe_role(model: Model, place: HeadIndex, role: HeadRole) -> Statement:
    """Return the sentence about one role of a head, with its values."""
    definition = ROLES[role.role]
    where = {"tokens": "on random tokens, ", "weights": "", "task": f"on {role.on}, "}
    measures = []
    for criterion in (*definition.required, *definition.supporting):
        # attention in each order says more
        if criterion.score == "attention_to_answer" and tells_orders(model, role.on):
            continue
        is_support = criterion in definition.supporting
        if is_support and (criterion.evidence not in role.evidence or definition.on == "weights"):
            continue
        words = measure(model, place, criterion_metric(criterion, role.on))
        if words:
            measures.append(words)
    effects = describe_effects(model, place, role)
    measures += effects.measures
    example = example_metric(role)
    shown = find_typical(model, place, example)
    if shown is not None and shown.metric == example and _rests_on_first(shown, model, place):
        measures.append(f"{format_fixed(shown.first)} on the first token")
    text = (
        f"{definition.claim.rstrip('.')}{effects.clause}; seen {where[definition.on]}"
        f"{_evidence(role)}; {', '.join(measures)}."
    )
    if effects.removal:
        text += f" {effects.removal}"
    return Statement(text, role.metric, role.value, role, example)


def other_roles(roles: Sequence[HeadRole], first: HeadRole) -> list[tuple[str, list[str]]]:
    """Return the titles of all roles on tasks but `first`, each with its tasks.

    The title of `first` comes first, where it is held on other tasks too; then those that say most.
    """
    found: dict[str, list[str]] = {}
    for role in sorted(roles, key=lambda r: (r.role != first.role, lead_place(r.role), r.on or "")):
        if role.on is not None and (role.role, role.on) != (first.role, first.on):
            found.setdefault(ROLES[role.role].title, []).append(role.on)
    return list(found.items())


def example_metric(role: HeadRole) -> str | None:
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


def _evidence(role: HeadRole) -> str:
    levels = join_words([evidence_word(level, role.role) for level in role.evidence])
    return f"in its {levels}" if role.evidence == ("weights",) else levels


def _of_habit(
    model: Model,
    place: HeadIndex,
    habit: str,
    values: Mapping[str, float],
    near: NearMiss | None,
) -> Statement:
    metric = metric_key(habit)
    value = values[habit]
    shifted = _find_shifted(model, place, value)
    if shifted is not None:
        distance, share, _ = shifted
        text = (
            f"It has no role, but a place: it looks {distance} tokens back "
            f"({format_fixed(share)} of its attention in the text below)."
        )
        removal = describe_dearest_removal(model, place)
        text = f"{text} {removal}" if removal else text
        return Statement(text, metric, value, example=metric, shifted=shifted)
    criterion = ROLES[habit].required[0]
    line, null = criterion.least, model.nulls.get(metric)
    if null is not None and null >= line:
        line = null + HEADROOM * (1.0 - null)
    reach = f"{ROLES[habit].title} has {format_fixed(line)} or more"
    if null is not None and value <= null:
        reach += f"; chance gives up to {format_fixed(null)}"
    text = (
        f"No clear habit: {_spread(model, place, value)} it looks most at "
        f"{HABITS[habit]} ({measure(model, place, metric)}; {reach})"
    )
    if habit == "sink":
        others = {name: values[name] for name in values if name != habit}
        second = strongest_habit(others)
        if second is not None:
            text += f", and else at {HABITS[second]} ({format_fixed(others[second])})"
    text += "."
    if near is not None and near.metric != metric:
        text += f" {_of_near_miss(near)}"
    removal = describe_dearest_removal(model, place)
    if removal:
        text += f" {removal}"
    return Statement(text, metric, value, example=metric)


def _find_shifted(model: Model, place: HeadIndex, most: float) -> tuple[int, float, Typical] | None:
    """Return the distance at which a head looks, beyond the line of previous-token heads."""
    shown = find_typical(model, place, None)
    found = None if shown is None else shift_typical(shown)
    line = max(
        ROLES["previous_token"].required[0].least,
        model.nulls.get(metric_key("previous_token"), 0.0),
        most,
    )
    return found if found is not None and found[1] > line else None


def _spread(model: Model, place: HeadIndex, most: float) -> str:
    """Say whether attention is nearly even, or on few tokens at none of the places measured."""
    value = value_of(model, place, "normalised_entropy")
    share = f"(entropy {format_fixed(value)} of an even spread)"
    if value >= _EVEN:
        return f"it spreads its attention nearly evenly {share}; of the places measured"
    if value <= _SHARP and most < _SHARP:
        return f"it fixes on few tokens {share} that are at none of the places measured; of these"
    return "of the places measured"


def _of_near_miss(near: NearMiss) -> str:
    """`It comes near a copying head: for 0.40 of all tokens, where it has 0.50 or more.`"""
    score = parse_metric(near.metric)[0]
    title = ROLES[near.role].title
    where = "" if near.on is None else f" on {near.on}"
    template = MEASURES.get(score, "{value}")
    words = template.format(value=format_fixed(near.value), signed=format_signed(near.value))
    line = format_signed(near.line) if "{signed}" in template else format_fixed(near.line)
    text = f"It comes near {title}{where}: {words}, where {title} has {line} or more"
    if near.null is not None and abs(near.value) <= abs(near.null):
        text += f", and chance gives {format_fixed(near.null)}"
    return f"{text}."
