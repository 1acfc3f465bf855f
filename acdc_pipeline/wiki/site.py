"""The content of the site: all models and tasks, and the section of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.plotting.heatmap import ThemedPicture, draw_mosaic
from acdc_pipeline.plotting.scales import ScoreScale, score_scale
from acdc_pipeline.specs.head_scores import ScoreDefinition
from acdc_pipeline.wiki.families.find import Family, find_families
from acdc_pipeline.wiki.families.links import Relatives, find_relatives
from acdc_pipeline.wiki.history.changes import Change, find_changes
from acdc_pipeline.wiki.models import HeadIndex, Model, group_models, head_name
from acdc_pipeline.wiki.neighbours import SimilarHead, find_similar_heads
from acdc_pipeline.wiki.notes import Notes, read_notes
from acdc_pipeline.wiki.output import digest_of
from acdc_pipeline.wiki.runs import StoreContents
from acdc_pipeline.wiki.scores import (
    Grid,
    Percentiles,
    Score,
    compute_percentiles,
    definition_of,
    sort_metrics,
    task_of,
)
from acdc_pipeline.wiki.tasks import Claim, Task, find_claims, find_tasks, published_edges
from acdc_pipeline.wiki.text import assign_slugs, format_number, pluralize, show_name


@dataclass(frozen=True)
class SiteScore:
    """A score of at least one model: its definition, its page, and its values over all models."""

    metric: str
    definition: ScoreDefinition = field(repr=False)
    slug: str
    scale: ScoreScale
    percentiles: Percentiles

    @property
    def task(self) -> str | None:
        """The task on whose prompts it was measured; None for all others."""
        return task_of(self.metric)

    @property
    def title(self) -> str:
        """The title of its definition, with its task: `Effect of reading the answer on ioi`."""
        on = "" if self.task is None else f" on {show_name(self.task, 24)}"
        return self.definition.title + on


@dataclass(frozen=True)
class RankedScore:
    """A score of one model: values, rank of each head (1 the highest), null value."""

    site: SiteScore
    values: Score
    ranks: np.ndarray
    null: float | None


@dataclass(frozen=True)
class Section:
    """Everything that the pages of one model show; sent to the process that writes them.

    Args:
        scores: its scores in comparison with other models, in the order of pages.
        unmeasured: scores of other models that this one lacks, on its own tasks or none.
        notes: notes as HTML by name of the head; `index` is about the model.
        relatives: the families that the model is a member of.
    """

    model: Model
    claims: Mapping[HeadIndex, tuple[Claim, ...]]
    nearest: Mapping[HeadIndex, tuple[SimilarHead, ...]]
    scores: Mapping[str, SiteScore]
    unmeasured: tuple[str, ...]
    tasks: Mapping[str, Task]
    notes: Mapping[str, str]
    relatives: tuple[Relatives, ...] = ()

    def digest(self, program: str) -> str:
        """Return a digest of the program and of all that its pages show.

        Without `nearest` and the percentiles of `scores`: other models change these often, and they
        are then replaced in the written pages.
        """
        model = self.model
        shown = (
            model.title,
            model.slug,
            self.claims,
            # percentiles are compared one by one
            [(score.metric, score.slug, score.scale) for score in self.scores.values()],
            self.unmeasured,
            # sorted, because the order of a set differs between processes
            {name: sorted(published_edges(model, t) or ()) for name, t in self.tasks.items()},
            [replace(task, reference=None) for task in self.tasks.values()],
            self.notes,
            self.relatives,
        )
        # names may contain lone surrogates
        return digest_of(
            *(
                part.encode("utf-8", "surrogatepass")
                for part in (program, model.digest, repr(shown))
            )
        )

    @cached_property
    def ranked_scores(self) -> tuple[RankedScore, ...]:
        """Every score of the model, in the order of pages."""
        return tuple(
            RankedScore(score, values, _rank(values.values), self.model.nulls.get(metric))
            for metric, score in self.scores.items()
            for values in (self.model.scores[metric],)
        )


@dataclass(frozen=True)
class Site:
    """The content of the whole site.

    Args:
        version: changes with the set of runs.
        newest: date of the newest run; None where unknown.
        damaged: problems of the runs left out.
        scores: scores of any model by metric, in the order of pages.
        changes: what the runs of each day added, newest first.
        front: what the home page shows of one head and one circuit, as its template takes it.
        families: checkpoints, seeds and fine-tunes of one another.
    """

    store: str
    version: str
    newest: date | None
    runs: int
    damaged: tuple[str, ...]
    models: tuple[Model, ...]
    tasks: Mapping[str, Task]
    scores: Mapping[str, SiteScore]
    notes: Notes
    changes: tuple[Change, ...] = ()
    front: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    families: tuple[Family, ...] = ()
    _mosaics: dict[str, dict[str, ThemedPicture]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def heads(self) -> int:
        return sum(len(model.places) for model in self.models)

    @property
    def circuits(self) -> int:
        return sum(model.n_circuits for model in self.models)

    @property
    def profiled(self) -> int:
        """Number of models with head scores."""
        return sum(bool(model.scores) for model in self.models)

    @property
    def measured(self) -> str:
        """Everything that the pages of roles and scores show, as text.

        Circuits are not in it, and of the tasks only those with scores and those whose published
        circuit names roles.
        """
        models = [(m.title, m.slug, m.n_layers, m.n_heads, m.size, m.measured) for m in self.models]
        scored = {score.task for score in self.scores.values()}
        tasks = [
            (task.name, task.slug, task.title, task.reference)
            for task in self.tasks.values()
            if task.name in scored or task.names_roles
        ]
        families = [family.shown for family in self.families]
        return repr((models, tasks, list(self.scores.values()), families))

    @property
    def searched(self) -> str:
        """Everything that the table of edges depends on, as text."""
        return repr(
            [
                (model.title, model.slug, cut.run.run_id, cut.run.digest)
                for model in self.models
                for all_series in model.circuits.values()
                for series in all_series
                for cut in series.cuts
            ]
        )

    @cached_property
    def holders(self) -> Mapping[str, Sequence[tuple[Model, HeadRole]]]:
        """Every head with a role, with its model, by role."""
        found: dict[str, list[tuple[Model, HeadRole]]] = {}
        for model in self.models:
            for roles in model.roles.values():
                for held in roles:
                    found.setdefault(held.role, []).append((model, held))
        return found

    def mosaics(self, metric: str) -> Mapping[str, ThemedPicture]:
        """Return the mosaics of a score, by slug of the model."""
        if metric not in self._mosaics:
            about = self.scores[metric]
            self._mosaics[metric] = {
                model.slug: draw_mosaic(
                    score.values,
                    about.scale,
                    f"{show_name(model.title)}. "
                    + describe_mosaic(about.title, score.values, model.empty_cells),
                )
                for model in self.models
                if (score := model.scores.get(metric)) is not None
            }
        return self._mosaics[metric]

    def section(self, model: Model) -> Section:
        """Return the section of a model, without the similar heads of other models."""
        own_tasks = {None, *(score.task for score in model.scores.values())}
        return Section(
            model=model,
            claims=find_claims(model, self.tasks.values()),
            nearest={},
            # only what its pages show, so that its digest is independent of the other models
            scores={
                metric: score for metric, score in self.scores.items() if metric in model.scores
            },
            unmeasured=tuple(
                metric
                for metric in self.scores
                if metric not in model.scores and task_of(metric) in own_tasks
            ),
            tasks={
                name: task
                for name, task in self.tasks.items()
                if name in model.circuits or name in own_tasks
            },
            notes={
                about: html for (slug, about), html in self.notes.html.items() if slug == model.slug
            },
            relatives=find_relatives(model, self.families),
        )

    def add_nearest(self, sections: Sequence[Section], which: Sequence[int]) -> list[Section]:
        """Return all sections, those with the indexes `which` with their similar heads."""
        out = list(sections)
        scales = {metric: score.scale for metric, score in self.scores.items()}
        for index, nearest in find_similar_heads(self.models, scales, which).items():
            out[index] = replace(out[index], nearest=nearest)
        return out


def make_site(
    contents: StoreContents, notes: Path | None = None, project: Path | None = None
) -> Site:
    """Return the content of the site of a store.

    Args:
        notes: folder of hand-written notes; None for no notes.
        project: project folder whose tasks come first; None to search from the working directory.

    Raises:
        SpecError: the file of a task, or that of families, is invalid.
        UnknownName: a declared family has a member that is not on the site.
        InvalidInput: a note cannot be read.
    """
    models = group_models(contents)
    metrics = sort_metrics(metric for model in models for metric in model.scores)
    definitions = {metric: definition_of(metric) for metric in metrics}
    slugs = assign_slugs({definition.name for definition in definitions.values()}, ("index",))
    scores = {}
    for metric, definition in definitions.items():
        grids = [model.scores[metric].values for model in models if metric in model.scores]
        scores[metric] = SiteScore(
            metric,
            definition,
            slugs[definition.name],
            score_scale(definition.low, definition.high, grids),
            compute_percentiles(grids),
        )
    return Site(
        store=contents.url,
        version=contents.version,
        newest=contents.newest,
        runs=len(contents.runs),
        damaged=tuple(str(error).splitlines()[0] for error in contents.damaged),
        models=models,
        tasks=find_tasks(models, project),
        scores=scores,
        notes=read_notes(notes, {m.slug: {head_name(*p) for p in m.places} for m in models}),
        changes=find_changes(contents, models),
        families=find_families(models, notes),
    )


def describe_mosaic(title: str, values: Grid, empty_cells: int = 0) -> str:
    """Describe a mosaic for readers who cannot see it; some cells may have no head."""
    layers, heads = values.shape
    size = f"{title}, {pluralize(layers, 'layer')} by {pluralize(heads, 'head')}"
    if not np.isfinite(values).any():
        return f"{size}: not measured."
    missing = np.isnan(values)  # `nanargmax` is slow, and there are many mosaics
    highest = divmod(int(np.where(missing, -np.inf, values).argmax()), heads)
    lowest = divmod(int(np.where(missing, np.inf, values).argmin()), heads)
    text = f"{size}: highest {format_number(float(values[highest]))} at {head_name(*highest)}"
    if values[lowest] < 0:
        text += f", lowest {format_number(float(values[lowest]))} at {head_name(*lowest)}"
    unknown = int((~np.isfinite(values)).sum()) - empty_cells
    return text + (f"; {pluralize(unknown, 'head')} not measured." if unknown else ".")


def _rank(values: np.ndarray) -> np.ndarray:
    ordered = np.sort(values[np.isfinite(values)])
    return 1 + len(ordered) - np.searchsorted(ordered, values, side="right")
