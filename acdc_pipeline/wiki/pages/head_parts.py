"""The parts of the page of a head: on each task, and on random tokens, what feeds it and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from acdc_pipeline.heads.habits import lead_place, lead_role
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.head_scores import ROLES, metric_key, parse_metric
from acdc_pipeline.wiki.attribution import Attributed
from acdc_pipeline.wiki.circuits import find_agreement
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.pages.circuit import circuit_path
from acdc_pipeline.wiki.pages.head_feeds import (
    Piece,
    Reader,
    reader_bars,
    say_attributed,
    say_circuit,
)
from acdc_pipeline.wiki.pages.head_typical import text_data
from acdc_pipeline.wiki.pages.head_why import why_data
from acdc_pipeline.wiki.pages.measures import measure
from acdc_pipeline.wiki.pages.removal import describe_place
from acdc_pipeline.wiki.pages.statement import Statement, describe_role, find_typical
from acdc_pipeline.wiki.site import Section
from acdc_pipeline.wiki.span_reading import shown_cut
from acdc_pipeline.wiki.text import show_name
from acdc_pipeline.wiki.why_data import model_attributions

_FULL_PARTS = 4
"""Parts with texts and bars; further ones have sentences alone, which keeps pages small."""


def part_rows(
    section: Section,
    place: HeadIndex,
    statement: Statement,
    partners: Sequence[tuple[str, str, float]],
    readers: Mapping[tuple[str | None, str], Sequence[Reader]],
) -> list[Data]:
    """Return the parts, that of the sentence on the page first.

    Args:
        partners: slot, earlier head and composition by the weights.
        readers: what `find_readers` returns.
    """
    model, name = section.model, head_name(*place)
    attributed = model_attributions(model, name)
    numbers = {one.metric: number for number, one in enumerate(attributed)}
    shown = find_typical(model, place, statement.example)
    lead = None if shown is None else shown.metric
    if lead is not None:
        first = parse_metric(lead)[2]
    else:
        first = None if statement.role is None else statement.role.on
    chosen: dict[str | None, Attributed] = {}
    for one in sorted(attributed, key=lambda one: one.metric != lead):
        chosen.setdefault(parse_metric(one.metric)[2], one)
    by_weights = {slot: (node, value) for slot, node, value in partners}
    parts: list[Data] = []
    for task in _contexts(model, place, first):
        one = chosen.get(task)
        is_first, is_full = not parts, len(parts) < _FULL_PARTS
        text = why = None
        if one is not None and is_full:
            why = why_data(one, numbers[one.metric], by_weights if is_first else {})
            # the page has the text of its sentence already
            text = None if one.metric == lead else text_data(model, place, one.metric)
        row: Data = {
            "task": task,
            "id": "random" if task is None else section.tasks[task].slug,
            "path": None if task is None else _path(section, task),
            "says": _say_task(model, place, task, statement.role),
            "text": text,
            "fed": _fed(section, task, name, one),
            "why": why,
            "feeds": reader_bars(readers.get((task, name), ())) if is_full else [],
        }
        if row["says"] or row["why"] or row["feeds"] or row["fed"]:
            parts.append(row)
    return parts


def _contexts(model: Model, place: HeadIndex, first: str | None) -> list[str | None]:
    """Return the tasks of the parts: `first`, then those on which the head has a role, looks at a
    place, or is in a circuit.

    None is random tokens, which come last unless they are `first`.
    """
    roles = model.roles.get(place, ())
    held: dict[str, list[HeadRole]] = {}
    for role in roles:
        if role.on is not None:
            held.setdefault(role.on, []).append(role)
    ranked = sorted(held, key=lambda task: (lead_place(lead_role(held[task]).role), task))
    name = head_name(*place)
    inside = [task for task, (series, *_) in model.circuits.items() if name in series.heads]
    on_tokens = [None] if _lead_role(model, place, None) is not None else []
    at_place = tasks_at_place(model, place)
    return list(dict.fromkeys([first, *ranked, *at_place, *inside, *on_tokens]))


def tasks_at_place(model: Model, place: HeadIndex) -> list[str]:
    """Return the tasks on which a head has no role, and looks at a place of the prompts."""
    held = {role.on for role in model.roles.get(place, ())}
    tasks = dict.fromkeys(profile.task for profile in model.profiles if profile.task not in held)
    return sorted(task for task in tasks if describe_place(model, place, task))


def _say_task(model: Model, place: HeadIndex, task: str | None, said: HeadRole | None) -> str:
    """Return the sentence about the role on a task that says most, else about a place.

    Empty for the role `said`, which is the one in the sentence of the page.
    """
    role = _lead_role(model, place, task)
    if role is not None:
        return "" if role == said else describe_role(model, place, role).text
    return "" if task is None else _say_place(model, place, task)


def _say_place(model: Model, place: HeadIndex, task: str) -> str:
    where = describe_place(model, place, task)
    if not where:
        return ""
    read = measure(model, place, metric_key("answer_reading", task), "{signed}")
    effect = (
        read and f"; what it reads there adds {read} to the logit of the answer over wrong ones"
    )
    return (
        f"At the token that the answer of {show_name(task, 24)} follows, it looks {where}{effect}."
    )


def _lead_role(model: Model, place: HeadIndex, task: str | None) -> HeadRole | None:
    """Return the role on a task, or on random tokens, that says most; None without one."""
    roles = model.roles.get(place, ())
    if task is None:
        found = [role for role in roles if ROLES[role.role].on == "tokens"]
    else:
        found = [role for role in roles if role.on == task]
    return lead_role(found) if found else None


def _path(section: Section, task: str) -> str:
    if task in section.model.circuits:
        return circuit_path(section, section.model.circuits[task][0])
    return f"t/{section.tasks[task].slug}/index.html"


def _fed(section: Section, task: str | None, name: str, one: Attributed | None) -> list[Piece]:
    """Say what feeds the head: by the circuit of the task if it is in one, else in one text."""
    text = [] if one is None else say_attributed(one)
    if task is None:
        return text
    if task not in section.model.circuits:
        before = f"No circuit of {show_name(task, 24)} was searched for in this model. "
        return [(before, ""), *text]
    series, *others = section.model.circuits[task]
    cut = shown_cut(series, name)
    if cut is None:
        return [(f"It is in no circuit of {show_name(task, 24)}. ", ""), *text]
    return say_circuit(series, cut, find_agreement(series, others), name)
