"""The tasks of a store, and what publications claim about heads of their circuits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from acdc_pipeline.graph import Topology
from acdc_pipeline.heads.roles import more_general
from acdc_pipeline.specs import ReferenceCircuit, TaskSpec, find_task, list_tasks
from acdc_pipeline.specs.circuit_reference import Group
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.circuits import EdgeKey, split_positions
from acdc_pipeline.wiki.models import HeadIndex, Model, head_index, head_name, primary_metric
from acdc_pipeline.wiki.span_reading import find_written, mark_span, shown_cut
from acdc_pipeline.wiki.text import assign_slugs, format_number, join_words

Verdict = Literal["agrees", "disagrees", "not tested"]

ROLE_OF_GROUP: Mapping[str, str] = {
    "backup_name_mover": "backup_mover",
    "negative_name_mover": "copy_suppression",
}
"""Roles that published circuits call by another name."""


def role_of_group(group: str) -> str | None:
    """Return the role that a group of a published circuit stands for; None if none does."""
    name = ROLE_OF_GROUP.get(group, group)
    return name if name in ROLES else None


_ARXIV = re.compile(r"\b(\d{4}\.\d{4,5})\b")


@dataclass(frozen=True)
class Task:
    """A task of at least one run.

    Args:
        title: its name where there is no `task.yaml`.
        behaviour: prompt -> continuation; None where there is no `task.yaml`.
        source: citation, and URL or None; None where there is no `task.yaml`.
        hash: current hash of the definition; runs under another hash had other prompts.
    """

    name: str
    slug: str
    title: str
    behaviour: str | None = None
    source: tuple[str, str | None] | None = None
    hash: str | None = None
    reference: ReferenceCircuit | None = None

    @property
    def names_roles(self) -> bool:
        """Whether a group of heads of its published circuit has a role."""
        return self.reference is not None and any(map(role_of_group, self.reference.groups))


@dataclass(frozen=True)
class Finding:
    """A measurement that supports or contradicts a claim."""

    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Claim:
    """What a publication claims about a head, and what was measured here."""

    task: str
    text: str
    source: str
    url: str | None
    findings: tuple[Finding, ...]


def find_tasks(models: Sequence[Model], project: Path | None = None) -> dict[str, Task]:
    """Return every task for which a model has circuits or scores, by name. Raises SpecError."""
    names = {task for model in models for task in model.circuits}
    names |= {score.task for model in models for score in model.scores.values() if score.task}
    known = list_tasks(project)
    folders = assign_slugs(names)
    return {
        name: _task(find_task(known[name]), folders[name])
        if name in known
        else Task(name, folders[name], name)
        for name in sorted(names)
    }


def _task(spec: TaskSpec, slug: str) -> Task:
    source = spec.source
    url = f"https://arxiv.org/abs/{source.arxiv}" if source.arxiv else source.url
    return Task(
        name=spec.name,
        slug=slug,
        title=spec.title,
        behaviour=spec.behaviour,
        source=(source.paper, url),
        hash=spec.definition_hash(),
        reference=spec.reference,
    )


def arxiv_url(citation: str) -> str | None:
    """Return the URL of the arXiv number in a citation; None without one."""
    found = _ARXIV.search(citation)
    return f"https://arxiv.org/abs/{found[1]}" if found else None


def cite_sources(text: str) -> list[tuple[str, str | None]]:
    """Return the citations in a text, which semicolons separate, each with its URL or None."""
    sources = (part.strip() for part in text.split(";"))
    return [(source, arxiv_url(source)) for source in sources if source]


def published_edges(
    model: Model, task: Task, graph: Topology | None = None
) -> frozenset[EdgeKey] | None:
    """Return the edges of a task's published circuit; None if it has none for this model.

    Those whose span in `graph` is not published have none; `graph` is that of the model by default.
    """
    reference, graph = task.reference, graph or model.shape
    if reference is None or graph is None or not reference.is_of(model.ref):
        return None
    if not reference.names_edges:
        return None
    ends = (
        ((str(edge.src), str(edge.dst), edge.slot or ""), edge.span)
        for edge in reference.published_edges(graph)
    )
    return frozenset(key if span is None else (*key, span) for key, span in ends)


def find_claims(model: Model, tasks: Iterable[Task]) -> dict[HeadIndex, tuple[Claim, ...]]:
    """Return the claims about each head of a model in the published circuits of tasks."""
    found: dict[HeadIndex, list[Claim]] = {}
    for task in tasks:
        if task.reference is None or not task.reference.is_of(model.ref):
            continue
        for place, groups in _groups_by_head(task.reference).items():
            if place[0] in model.layers_with_heads and place[1] < model.n_heads:
                claim = _claim(model, task, task.reference, place, groups)
                found.setdefault(place, []).append(claim)
    return {place: tuple(claims) for place, claims in found.items()}


def _groups_by_head(reference: ReferenceCircuit) -> dict[HeadIndex, list[str]]:
    """Return the groups of each head of a published circuit; a head may be in none."""
    groups: dict[HeadIndex, list[str]] = {
        place: [] for place in sorted(map(head_index, reference.heads))
    }
    for group, members in reference.groups.items():
        for place in members.heads:
            groups[place].append(group)
    return groups


def _claim(
    model: Model, task: Task, reference: ReferenceCircuit, place: HeadIndex, groups: Sequence[str]
) -> Claim:
    named = " and ".join(_name_group(reference, group) for group in groups)
    text = f"in the circuit of {task.name}" + (f", as {named}" if named else "")
    findings = [_check_circuit(model, task, place)]
    findings += [found for group in groups if (found := check_role(model, task, place, group))]
    findings += [
        found
        for group in groups
        if (found := _check_positions(model, task, place, reference.groups[group]))
    ]
    return Claim(task.name, text, reference.source, arxiv_url(reference.source), tuple(findings))


def _check_circuit(model: Model, task: Task, place: HeadIndex) -> Finding:
    if task.name not in model.circuits:
        return Finding("not tested", "no circuit of this task was searched for here")
    series = model.circuits[task.name][0]
    cut = series.smallest_with_head(head_name(*place))
    if cut is None:
        return Finding(
            "disagrees", f"in no circuit found here, down to {series.describe(series.cuts[-1])}"
        )
    until = "up to" if series.has_thresholds else "with"
    return Finding("agrees", f"in the circuit found here, {until} {series.describe(cut)}")


def _name_group(reference: ReferenceCircuit, group: str) -> str:
    """`s inhibition at END reading S2`, as far as the publication states positions."""
    stated = reference.groups[group]
    text = group.replace("_", " ")
    text += f" at {join_words(stated.at)}" if stated.at else ""
    return text + (f" reading {join_words(stated.reads)}" if stated.reads else "")


def _check_positions(model: Model, task: Task, place: HeadIndex, stated: Group) -> Finding | None:
    """Compare where a head reads and writes with what a publication states; None if it does not."""
    if not stated.at and not stated.reads:
        return None
    series = next(iter(split_positions(model.circuits.get(task.name, ()))[1]), None)
    if series is None or not {*stated.at, *stated.reads} <= set(series.shape.spans):
        why = "no circuit by position was searched for" if series is None else "spans differ"
        return Finding("not tested", f"where it reads and writes: {why} here")
    head = head_name(*place)
    cut = shown_cut(series, head)
    if cut is None:
        return Finding("disagrees", "in no circuit by position found here")
    written = find_written(series, cut, head, None)
    where = f"in the circuit by position, {series.describe(cut)}"
    here = [each for each in written if each.span in stated.at or not stated.at]
    if not here:
        spans = join_words([mark_span(each.span) for each in written]) or "no span"
        return Finding("disagrees", Markup(f"writes at {spans} {where}"))
    read = dict.fromkeys(key.span for each in here for key in each.keys)
    spans = join_words([mark_span(each.span) for each in here])
    if stated.reads and not read.keys() & {*stated.reads}:
        found = join_words([mark_span(span) for span in read]) or "nothing"
        return Finding("disagrees", Markup(f"reads {found} at {spans} {where}"))
    reads = [mark_span(span) for span in stated.reads if span in read]
    text = f"at {spans}" + (f" it reads {join_words(reads)}" if reads else " it writes")
    return Finding("agrees", Markup(f"{text} {where}"))


def check_role(model: Model, task: Task, place: HeadIndex, group: str) -> Finding | None:
    """Compare a head with the role that its group stands for; None if that is not a role here."""
    name = ROLE_OF_GROUP.get(group, group)
    if name not in ROLES:
        return None
    title = ROLES[name].title
    score = model.scores.get(primary_metric(name, task.name))
    if score is None:
        return Finding("not tested", f"whether it behaves as {title} was not measured")
    value = format_number(float(score.values[place]))
    for held in model.roles.get(place, ()):
        # a special form of the role counts as well
        if name in (held.role, *more_general(held.role)) and held.on in (None, task.name):
            return Finding("agrees", f"behaves as {title} here ({value})")
    return Finding("disagrees", f"does not pass as {title} here ({value})")
