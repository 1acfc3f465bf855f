"""The tasks of a store: what their files say of them, where there still are such files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from acdc_pipeline.specs import ReferenceCircuit, TaskSpec, find_task, list_tasks
from acdc_pipeline.wiki.models import Model
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
