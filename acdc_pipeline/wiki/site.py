"""The whole site before it is written: models, tasks, and what compares models with one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.plotting.scales import ScoreScale, score_scale
from acdc_pipeline.specs.head_scores import ROLES, ScoreDefinition
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name, models_of
from acdc_pipeline.wiki.neighbours import Neighbour, neighbours
from acdc_pipeline.wiki.notes import Notes, read_notes
from acdc_pipeline.wiki.output import digest_of
from acdc_pipeline.wiki.runs import Gathered
from acdc_pipeline.wiki.scores import Score, Standing, definition_of, in_order, standing, task_of
from acdc_pipeline.wiki.slug import slugs
from acdc_pipeline.wiki.tasks import Claim, Task, claims_about, published_edges, tasks_of


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
    rulers: Mapping[str, ScoreScale]
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


def _ruler(metric: str, models: tuple[Model, ...]) -> ScoreScale:
    definition = definition_of(metric)
    values = (model.scores[metric].values for model in models if metric in model.scores)
    return score_scale(definition.low, definition.high, values)


class Likeness(NamedTuple):
    """A head of another model that scores alike.

    Args:
        title: the other model.
        slug: its folder.
        name: the head.
        value: 1 is the same in every score.
        roles: what it behaves as, in words.
    """

    title: str
    slug: str
    name: str
    value: float
    roles: str


@dataclass(frozen=True)
class Measure:
    """A score of the model, with what is needed to show it.

    Args:
        metric: name, version and task.
        definition: what it means.
        score: the numbers.
        ranks: each head's place, 1 the highest; equal scores share a place.
        ruler: its scale.
        standing: how it is spread over all models.
        null: what chance reaches; None where no null was measured.
        slug: its page.
    """

    metric: str
    definition: ScoreDefinition
    score: Score
    ranks: np.ndarray
    ruler: ScoreScale
    standing: Standing
    null: float | None
    slug: str

    @property
    def task(self) -> str | None:
        """The task on whose prompts it was measured; None for all others."""
        return task_of(self.metric)


@dataclass(frozen=True)
class Chapter:
    """A model, and what the rest of the site says about it.

    Args:
        model: the model.
        claims: what has been published, by head.
        nearest: heads of other models, by head.
        rulers: the scale of each of its scores, the same for all models.
        standings: how its scores stand over all models.
        unmeasured: scores that other models have, on no prompts or on those of its own tasks.
        tasks: the tasks of the site by name.
        notes: hand-written notes as HTML by head name; `index` is about the model.
        score_slugs: the page of each score by name.
    """

    model: Model
    claims: Mapping[HeadIndex, tuple[Claim, ...]]
    nearest: Mapping[HeadIndex, tuple[Likeness, ...]]
    rulers: Mapping[str, ScoreScale]
    standings: Mapping[str, Standing]
    unmeasured: tuple[str, ...]
    tasks: Mapping[str, Task]
    notes: Mapping[str, str]
    score_slugs: Mapping[str, str]

    @property
    def identity(self) -> str:
        """All that the pages say that is not in the files of the runs, as text, but for `nearest`.

        The same in every process: sets would change their order, so there are none in it.
        """
        model = self.model
        published = {
            name: sorted(published_edges(model, task) or ()) for name, task in self.tasks.items()
        }
        tasks = [replace(task, reference=None) for task in self.tasks.values()]
        beside = (self.claims, self.rulers, self._cuts, self.unmeasured)
        return repr(
            (model.title, model.slug, *beside, published, tasks, self.notes, self.score_slugs)
        )

    @property
    def _cuts(self) -> list[tuple[str, Standing]]:
        """The standings, without the counts that pages of heads do not show."""
        return [
            (metric, replace(standing, heads=0, models=0))
            for metric, standing in self.standings.items()
        ]

    @property
    def kinships(self) -> dict[str, str]:
        """What stands for `nearest` of each head, by name: no other page of the model shows it."""
        return {
            head_name(*place): digest_of(repr(near).encode("utf-8", "surrogatepass"))[:12]
            for place, near in self.nearest.items()
        }

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """Every score of the model, in the order of pages."""
        return tuple(
            Measure(
                metric=metric,
                definition=definition,
                score=score,
                ranks=_ranks(score.values),
                ruler=self.rulers[metric],
                standing=self.standings[metric],
                null=self.model.nulls.get(metric),
                slug=self.score_slugs[definition.name],
            )
            for metric in in_order(self.model.scores)
            for score, definition in ((self.model.scores[metric], definition_of(metric)),)
        )


def _ranks(values: np.ndarray) -> np.ndarray:
    ordered = np.sort(values[np.isfinite(values)])
    return 1 + len(ordered) - np.searchsorted(ordered, values, side="right")
