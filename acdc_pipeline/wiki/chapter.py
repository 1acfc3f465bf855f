"""One model with everything that its pages say: the unit that a worker turns into files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from acdc_pipeline.specs.head_scores import ScoreDefinition
from acdc_pipeline.wiki.claims import Claim, published_edges
from acdc_pipeline.wiki.drawing.ruler import Ruler
from acdc_pipeline.wiki.manifest import digest_of
from acdc_pipeline.wiki.models import Model, head_name
from acdc_pipeline.wiki.roles import HeadIndex
from acdc_pipeline.wiki.scores import Score, definition_of, in_order, task_of
from acdc_pipeline.wiki.standing import Standing
from acdc_pipeline.wiki.tasks import Task


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
    ruler: Ruler
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
    rulers: Mapping[str, Ruler]
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
