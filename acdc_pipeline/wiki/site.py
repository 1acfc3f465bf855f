"""The whole site before it is written: models, tasks, and what compares models with one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.chapter import Chapter, Likeness
from acdc_pipeline.wiki.claims import claims_about
from acdc_pipeline.wiki.drawing.ruler import Ruler, ruler
from acdc_pipeline.wiki.models import Model, head_name, models_of
from acdc_pipeline.wiki.neighbours import Neighbour, neighbours
from acdc_pipeline.wiki.notes import Notes, read_notes
from acdc_pipeline.wiki.runs import Gathered
from acdc_pipeline.wiki.scores import definition_of, in_order, task_of
from acdc_pipeline.wiki.slug import slugs
from acdc_pipeline.wiki.standing import Standing, standing
from acdc_pipeline.wiki.tasks import Task, tasks_of


@dataclass(frozen=True)
class Site:
    """Everything there is to tell.

    Args:
        store: where the runs are, as people know it.
        version: changes with every run that comes or goes.
        newest: the day on which the newest run was stored; None where nobody knows.
        runs: how many there are.
        damaged: what is wrong with those that were left out.
        models: in the order of their names.
        tasks: by name.
        metrics: every score of any model, in the order in which pages show them.
        score_slugs: the page of each score by name.
        rulers: the scale of each score.
        standings: how each score is spread over all heads.
        notes: hand-written notes.
    """

    store: str
    version: str
    newest: date | None
    runs: int
    damaged: tuple[str, ...]
    models: tuple[Model, ...]
    tasks: Mapping[str, Task]
    metrics: tuple[str, ...]
    score_slugs: Mapping[str, str]
    rulers: Mapping[str, Ruler]
    standings: Mapping[str, Standing]
    notes: Notes

    @property
    def heads(self) -> int:
        """All heads of all models."""
        return sum(model.total_heads for model in self.models)

    @property
    def measured(self) -> str:
        """All that the pages of kinds and scores say, as text: no circuit changes it."""
        models = [(m.title, m.slug, m.n_layers, m.n_heads, m.size, m.measured) for m in self.models]
        tasks = [(task.name, task.slug) for task in self.tasks.values()]
        return repr((models, tasks, self.metrics, self.score_slugs, self.rulers, self.standings))

    @cached_property
    def holders(self) -> Mapping[str, Sequence[tuple[Model, HeadRole]]]:
        """Every head of each kind, with its model, by kind."""
        found: dict[str, list[tuple[Model, HeadRole]]] = {}
        for model in self.models:
            for roles in model.roles.values():
                for held in roles:
                    found.setdefault(held.role, []).append((model, held))
        return found

    @property
    def circuits(self) -> int:
        """All circuits of all models."""
        return sum(
            len(question.cuts)
            for model in self.models
            for questions in model.questions.values()
            for question in questions
        )

    def chapter(self, index: int) -> Chapter:
        """What the pages of one model say, but for the heads of others that are like its own."""
        model = self.models[index]
        # a task that only others were profiled on is no gap of each score
        profiled = {None, *(score.task for score in model.scores.values())}
        return Chapter(
            model=model,
            claims=claims_about(model, self.tasks.values()),
            nearest={},
            # no more than it needs, so that it stays the same while others change
            rulers={metric: self.rulers[metric] for metric in model.scores},
            standings={metric: self.standings[metric] for metric in model.scores},
            unmeasured=tuple(
                m for m in self.metrics if m not in model.scores and task_of(m) in profiled
            ),
            tasks={
                name: task
                for name, task in self.tasks.items()
                if name in model.questions or any(s.task == name for s in model.scores.values())
            },
            notes={
                what: html for (slug, what), html in self.notes.html.items() if slug == model.slug
            },
            score_slugs={
                definition_of(m).name: self.score_slugs[definition_of(m).name] for m in model.scores
            },
        )

    def with_nearest(self, chapters: Sequence[Chapter], which: Sequence[int]) -> list[Chapter]:
        """`chapters`, all of them in their order, `which` of them with the heads that are alike."""
        out = list(chapters)
        found = neighbours(self.models, self.rulers, which)
        # few heads, named many times
        named = {near[:3] for heads in found.values() for some in heads.values() for near in some}
        said = {place: self._says_of(*place) for place in named}
        for index, heads in found.items():
            nearest = {
                place: tuple(_likeness(near, said[near[:3]]) for near in some)
                for place, some in heads.items()
            }
            out[index] = replace(out[index], nearest=nearest)
        return out

    def _says_of(self, index: int, layer: int, head: int) -> tuple[str, str, str, str]:
        model = self.models[index]
        held = model.roles.get((layer, head), ())
        titles = dict.fromkeys(ROLES[role.role].title for role in held[:2])
        return model.title, model.slug, head_name(layer, head), ", ".join(titles)


def site_of(gathered: Gathered, notes: Path | None = None, project: Path | None = None) -> Site:
    """The site of a store.

    Args:
        gathered: the runs of the store.
        notes: the folder of hand-written notes; None where there are none.
        project: where tasks are looked for first; None means from the working directory on.

    Raises:
        SpecError: the file of a task has a problem.
        InvalidInput: a note cannot be read.
    """
    models = models_of(gathered)
    metrics = tuple(in_order(metric for model in models for metric in model.scores))
    rulers = {metric: _ruler(metric, models) for metric in metrics}
    names = {definition_of(metric).name for metric in metrics}
    return Site(
        store=gathered.url,
        version=gathered.version,
        newest=gathered.newest,
        runs=len(gathered.runs),
        damaged=tuple(str(error).splitlines()[0] for error in gathered.damaged),
        models=models,
        tasks=tasks_of(models, project),
        metrics=metrics,
        score_slugs=slugs(names, ("index",)),
        rulers=rulers,
        standings={
            metric: standing(m.scores[metric].values for m in models if metric in m.scores)
            for metric in metrics
        },
        notes=read_notes(notes, {m.slug: (m.n_layers, m.n_heads) for m in models}),
    )


def _likeness(near: Neighbour, said: tuple[str, str, str, str]) -> Likeness:
    title, slug, name, roles = said
    return Likeness(title, slug, name, near.likeness, roles)


def _ruler(metric: str, models: tuple[Model, ...]) -> Ruler:
    definition = definition_of(metric)
    values = (model.scores[metric].values for model in models if metric in model.scores)
    return ruler(definition.low, definition.high, values)
