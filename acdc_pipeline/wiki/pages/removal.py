"""What a role alone would leave unsaid of a head's effect: by which way, and what removal costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acdc_pipeline.heads.habits import READS, lead_place, lead_role
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.head_scores import metric_key, parse_metric
from acdc_pipeline.wiki.models import HeadIndex, Model
from acdc_pipeline.wiki.pages.measures import measure
from acdc_pipeline.wiki.text import format_fixed, show_name

_ABLATIONS = {
    "mean_ablation": "Replacing its output by its mean",
    "zero_ablation": "Setting its output to zero",
}
"""The one that is said first: outputs of zero are further from those that the model knows."""

_SMALL = 0.5
"""The share of a direct effect below which what removal changes is small."""

_ORDERS = {"before": "attention_to_answer_before", "after": "attention_to_answer_after"}
"""Scores of prompts with the answer before, and after, a wrong one."""

_LOOKS = 0.3
"""Attention to the answer in one order from which a head is said to look at a place."""


@dataclass(frozen=True)
class Effects:
    """Parts of the sentence about a role.

    Args:
        clause: continues the claim; may be empty.
        measures: further values.
        removal: a sentence of its own; empty where no ablation was measured.
    """

    clause: str = ""
    measures: tuple[str, ...] = ()
    removal: str = ""


def describe_effects(model: Model, place: HeadIndex, role: HeadRole) -> Effects:
    """Say what follows from other scores than the role's, in the sentence about it."""
    if role.role == "induction" and "causal" not in role.evidence:
        metric = metric_key("copy_attribution")
        words = measure(model, place, metric, "only {signed} to the next token’s logit directly")
        return Effects(measures=(words,) if words else ())
    if role.on is None:
        return Effects()
    lost = _losses(model, place, role.on)
    how = next(iter(lost), None)
    is_small = is_compensated(model, place, role)
    clause, measures = "", []
    if role.role == "mover":
        direct = value_of(model, place, "direct_effect", role.on)
        clause = " directly" if direct >= role.value / 2 else " for later layers"
        key = metric_key("direct_effect", role.on)
        measures.append(measure(model, place, key, "{signed} directly"))
        if "attention" not in role.evidence:
            key = metric_key("attention_to_answer", role.on)
            measures.append(measure(model, place, key))
    if role.role == "direct_contributor":
        looked = value_of(model, place, "attention_to_answer", role.on)
        away = ", without looking at it in the prompt"
        where = describe_place(model, place, role.on)
        clause = away if looked < READS else f", looking {where}" if where else ""
    if is_small:
        clause += ", but the rest of the model makes up for most of that"
        how = max(lost, key=lambda how: abs(lost[how]))
    removal = ""
    if how is not None:
        removal = _say_removal(model, place, role.on, how, "only " if is_small else "")
        is_direct = parse_metric(role.metric)[0] == "direct_effect"
        if is_direct and abs(lost[how]) > abs(role.value) / _SMALL:
            removal += ", most of it through later heads and MLPs"
        removal += "."
    return Effects(clause, tuple(filter(None, measures)), removal)


def tells_orders(model: Model, task: str | None) -> bool:
    """Whether attention to the answer was measured for each order of answers and wrong ones."""
    return metric_key(_ORDERS["before"], task) in model.scores


def describe_place(model: Model, place: HeadIndex, task: str) -> str:
    """Say that a head looks at a place: at the answer in one order of right and wrong ones only.

    Empty if it looks at the answer in both orders or in neither, or if there are not both orders.
    """
    looked = {order: value_of(model, place, name, task) for order, name in _ORDERS.items()}
    most, least = sorted(looked, key=lambda order: -looked[order])
    if not (looked[least] < READS and looked[most] >= _LOOKS):
        return ""
    return (
        f"at the answer where it comes {most} a wrong one "
        f"({format_fixed(looked[most])} of its attention) and not where it comes {least} one "
        f"({format_fixed(looked[least])}): at a place, not at the answer"
    )


def is_compensated(model: Model, place: HeadIndex, role: HeadRole) -> bool:
    """Whether removing the head surely changes less than half of its direct effect on the answer.

    By both ends of the intervals of zero and of mean ablation. Self-repair: McGrath et al. 2023,
    arXiv 2307.15771; Rushing & Nanda 2024, arXiv 2402.15390.
    """
    if role.on is None or parse_metric(role.metric)[0] != "direct_effect":
        return False
    lost = [model.scores[metric_key(how, role.on)] for how in _losses(model, place, role.on)]
    ends = [one[place] for score in lost for one in (score.values, score.low, score.high)]
    return bool(lost) and float(np.nanmax(np.abs(ends))) < _SMALL * abs(role.value)


def removal_loss(model: Model, place: HeadIndex, task: str | None) -> float:
    """Return how much of the answer logit is lost without the head; NaN where not measured."""
    if task is None:
        return float("nan")
    return next(iter(_losses(model, place, task).values()), float("nan"))


def telling_heads(model: Model) -> list[HeadIndex]:
    """Return the heads with a role, those first whose role says most.

    Of one kind those whose removal costs most, then those with the largest score: the order of the
    model's page.
    """

    def order(place: HeadIndex) -> tuple[object, ...]:
        role = lead_role(model.roles[place])
        loss = removal_loss(model, place, role.on)
        return lead_place(role.role), -np.nan_to_num(loss, nan=-np.inf), -abs(role.value), place

    return sorted(model.roles, key=order)


def describe_dearest_removal(model: Model, place: HeadIndex) -> str:
    """Say on which task removal costs the largest share of the answer logit; empty without one."""
    wholes = {
        profile.task: profile.answer_logit
        for profile in model.profiles
        if profile.answer_logit is not None and profile.answer_logit > 0
    }
    shares = {
        task: abs(loss) / whole
        for task, whole in wholes.items()
        if np.isfinite(loss := removal_loss(model, place, task))
    }
    if not shares:
        return ""
    task = max(sorted(shares), key=lambda task: shares[task])
    how = next(iter(_losses(model, place, task)))
    most = "" if len(shares) == 1 else f", the most of {len(shares)} tasks"
    return f"{_say_removal(model, place, task, how)} on {show_name(task, 24)}{most}."


def value_of(model: Model, place: HeadIndex, score: str, task: str | None = None) -> float:
    """Return a score of a head; NaN where it has none."""
    found = model.scores.get(metric_key(score, task))
    return float("nan") if found is None else float(found.values[place])


def _losses(model: Model, place: HeadIndex, task: str) -> dict[str, float]:
    values = {how: value_of(model, place, how, task) for how in _ABLATIONS}
    return {how: value for how, value in values.items() if np.isfinite(value)}


def _say_removal(model: Model, place: HeadIndex, task: str, how: str, only: str = "") -> str:
    """`… by its mean costs 2.83 ± 0.20 of the answer logit of 8.9`, or adds to that."""
    metric = metric_key(how, task)
    wholes = (p.answer_logit for p in model.profiles if p.task == task)
    logits = (format_fixed(logit, 1) for logit in wholes if logit is not None)
    whole = next((f"the answer logit of {logit}" for logit in logits), "")
    cost = measure(model, place, metric, "{value}")
    if cost.startswith("−"):
        return f"{_ABLATIONS[how]} adds {only}{cost[1:]}" + (whole and f" to {whole}")
    return f"{_ABLATIONS[how]} costs {only}{cost}" + (whole and f" of {whole}")
