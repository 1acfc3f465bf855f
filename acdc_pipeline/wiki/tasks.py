"""The tasks of a store: what their files say of them, where there still are such files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acdc_pipeline.graph import Edge
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs import ReferenceCircuit, TaskSpec, find_task, list_tasks
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name, primary_metric
from acdc_pipeline.wiki.numbers import number
from acdc_pipeline.wiki.slug import slugs

_ARXIV = re.compile(r"\b(\d{4}\.\d{4,5})\b")


@dataclass(frozen=True)
class Task:
    """A task that some run of the store is about.

    Args:
        name: as runs call it.
        slug: its folder on the site.
        title: for headings.
        behaviour: a prompt -> what should follow; None where there is no `task.yaml`.
        source: citation and address, None where there is none.
        hash: what the task is now; runs under another hash had other prompts.
        reference: the published circuit.
    """

    name: str
    slug: str
    title: str
    behaviour: str | None = None
    source: tuple[str, str | None] | None = None
    hash: str | None = None
    reference: ReferenceCircuit | None = None


def tasks_of(models: Sequence[Model], project: Path | None = None) -> dict[str, Task]:
    """Every task that a circuit or a score of `models` names, by name.

    Raises:
        SpecError: a task's file has a problem.
    """
    names = {task for model in models for task in _named(model)}
    known = list_tasks(project)
    folders = slugs(names)
    return {
        name: _task(find_task(known[name]), folders[name])
        if name in known
        else Task(name, folders[name], name)
        for name in sorted(names)
    }


def address(source: str) -> str | None:
    """Where a citation can be read: what it says of arXiv, as a URL."""
    found = _ARXIV.search(source)
    return f"https://arxiv.org/abs/{found[1]}" if found else None


def _named(model: Model) -> Iterable[str]:
    yield from model.questions
    yield from (score.task for score in model.scores.values() if score.task is not None)


def _task(spec: TaskSpec, slug: str) -> Task:
    source = spec.source
    where = f"https://arxiv.org/abs/{source.arxiv}" if source.arxiv else source.url
    return Task(
        name=spec.name,
        slug=slug,
        title=spec.title,
        behaviour=spec.behaviour,
        source=(source.paper, where),
        hash=spec.definition_hash(),
        reference=spec.reference,
    )


Verdict = Literal["agrees", "disagrees", "not tested"]

JOBS: Mapping[str, str] = {
    "backup_name_mover": "backup_mover",
    "negative_name_mover": "copy_suppression",
}
"""Kinds that published circuits call by another name."""


@dataclass(frozen=True)
class Finding:
    """One measurement beside a claim."""

    verdict: Verdict
    says: str


@dataclass(frozen=True)
class Claim:
    """What a publication says of a head.

    Args:
        task: the task whose circuit it is part of.
        says: what is claimed.
        source: citation.
        url: where to read it.
        findings: what was measured here.
    """

    task: str
    says: str
    source: str
    url: str | None
    findings: tuple[Finding, ...]


def claims_about(model: Model, tasks: Iterable[Task]) -> dict[HeadIndex, tuple[Claim, ...]]:
    """The claims about each head of `model` in the published circuits of `tasks`."""
    found: dict[HeadIndex, list[Claim]] = {}
    for task in tasks:
        reference = task.reference
        if reference is None or not reference.is_of(model.ref):
            continue
        for place, jobs in _jobs(reference).items():
            if place[0] < model.n_layers and place[1] < model.n_heads:
                claim = _claim(model, task, reference, place, jobs)
                found.setdefault(place, []).append(claim)
    return {place: tuple(claims) for place, claims in found.items()}


def published_edges(model: Model, task: Task) -> frozenset[tuple[str, str, str]] | None:
    """The edges of the task's published circuit, if it is one of this model and names edges."""
    reference = task.reference
    if reference is None or model.shape is None or not reference.is_of(model.ref):
        return None
    if not reference.names_edges:
        return None
    return frozenset(_key(edge) for edge in reference.circuit(model.shape).edges)


def _key(edge: Edge) -> tuple[str, str, str]:
    return str(edge.src), str(edge.dst), edge.slot or ""


def _jobs(reference: ReferenceCircuit) -> dict[HeadIndex, list[str]]:
    """For each head that is named, the groups it stands in."""
    jobs: dict[HeadIndex, list[str]] = {
        (node.layer or 0, node.head or 0): []
        for node in sorted(reference.heads, key=lambda n: (n.layer or 0, n.head or 0))
    }
    for group, members in reference.groups.items():
        for place in members.heads:
            jobs[place].append(group)
    return jobs


def _claim(
    model: Model,
    task: Task,
    reference: ReferenceCircuit,
    place: HeadIndex,
    jobs: Sequence[str],
) -> Claim:
    named = " and ".join(job.replace("_", " ") for job in jobs)
    says = f"in the circuit of {task.name}" + (f", as {named}" if named else "")
    findings = [_in_circuit(model, task, place)]
    findings += [f for job in jobs if (f := _has_role(model, task, place, job))]
    return Claim(task.name, says, reference.source, address(reference.source), tuple(findings))


def _in_circuit(model: Model, task: Task, place: HeadIndex) -> Finding:
    questions = model.questions.get(task.name, ())
    if not questions:
        return Finding("not tested", "no circuit of this task was searched for here")
    question = questions[0]
    name = head_name(*place)
    at = question.heads.get(name)
    cut = None if at is None else question.survives(at)
    least = question.cuts[-1]
    if cut is None:
        what = f"τ = {least.label}" if question.has_thresholds else f"{least.label} edges"
        return Finding("disagrees", f"in no circuit found here, down to {what}")
    what = f"up to τ = {cut.label}" if question.has_thresholds else f"with {cut.label} edges"
    return Finding("agrees", f"in the circuit found here, {what}")


def _has_role(model: Model, task: Task, place: HeadIndex, job: str) -> Finding | None:
    """Whether the head has the role that a job is; None for jobs that are no role here."""
    name = JOBS.get(job, job)
    if name not in ROLES:
        return None
    definition = ROLES[name]
    score = model.scores.get(primary_metric(name, task.name))
    title = definition.title
    if score is None:
        return Finding("not tested", f"whether it behaves as {title} was not measured")
    value = number(float(score.values[place]))
    held = model.roles.get(place, ())
    if any(_is_one(role, name) and role.on in (None, task.name) for role in held):
        return Finding("agrees", f"behaves as {title} here ({value})")
    return Finding("disagrees", f"does not pass as {title} here ({value})")


def _is_one(held: HeadRole, name: str) -> bool:
    """Whether a role is the one called `name`, or a special form of it."""
    return name in (held.role, ROLES[held.role].special_of)
