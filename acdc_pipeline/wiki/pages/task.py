"""The page of a task: its circuits in every model, and the heads with a role on its prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.circuits import CircuitSeries, split_positions
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.page import Data, SinglePage, SitePage, frame
from acdc_pipeline.wiki.pages.circuit import cut_data
from acdc_pipeline.wiki.pages.plain_names import plain_name
from acdc_pipeline.wiki.pages.published import edge_rows, group_rows, is_on_site
from acdc_pipeline.wiki.scores import task_of
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.tasks import Task

_MAX_HEADS = 6


class TaskListPage(SinglePage):
    """The list of tasks."""

    template = "tasks.html"
    path = "t/index.html"

    def data(self, _: None) -> Data:
        return {**frame(1, "Tasks", ("Tasks", None)), "rows": task_rows(self.site)}


class TaskPage(SitePage[Task]):
    """The page of a task."""

    template = "task.html"

    def paths(self) -> Iterator[tuple[str, Task]]:
        for task in self.site.tasks.values():
            yield f"t/{task.slug}/index.html", task

    def data(self, task: Task) -> Data:
        models = [m for m in self.site.models if task.name in m.circuits]
        found = [(model, model.circuits[task.name][0]) for model in models]
        labels = _thresholds([series for _, series in found])
        rows = [_model_row(model, series, labels) for model, series in found]
        return {
            **frame(2, task.title, ("Tasks", "t/index.html"), (task.title, None)),
            "task": task,
            "labels": labels,
            "any_other": any(not series.has_thresholds for _, series in found),
            "rows": rows,
            "any_null": any(row["above_null"] is not None for row in rows),
            "kinds": _roles(self.site, task),
            "groups": group_rows(self.site, task),
            "edges": edge_rows(self.site, task),
            "on_site": task.reference is not None and is_on_site(self.site, task.reference),
        }


def task_rows(site: Site) -> list[Data]:
    """Return every task with the number of its circuits, and of models with some or scores."""
    rows = []
    for task in site.tasks.values():
        found = [model.circuits.get(task.name, ()) for model in site.models]
        measured = (set(map(task_of, model.scores)) | set(model.circuits) for model in site.models)
        rows.append(
            {
                "task": task,
                "models": sum(task.name in names for names in measured),
                "circuits": sum(len(series.cuts) for of_model in found for series in of_model),
            }
        )
    return rows


def _thresholds(found: Sequence[CircuitSeries]) -> list[str]:
    """Return the labels of all thresholds, the largest first; a consensus has one of its own."""
    labels = {
        (-cut.threshold, series.searches): series.label(cut)
        for series in found
        for cut in series.cuts
        if cut.threshold is not None
    }
    return [labels[threshold] for threshold in sorted(labels)]


def _model_row(model: Model, series: CircuitSeries, labels: list[str]) -> Data:
    by_label = {series.label(cut): cut_data(series, cut) for cut in series.cuts}
    shown = series.cuts[series.first_shown]
    return {
        "model": model,
        "plain": plain_name(model),
        "by_span": series.by_span,
        "spans": not series.by_span and split_positions(model.circuits[series.task])[1] != (),
        "cells": [by_label.get(label) if series.has_thresholds else None for label in labels],
        "other": None
        if series.has_thresholds
        else {**cut_data(series, shown), "method": series.spec.method.name},
        "above_null": shown.run.figures.percentile,
        "model_accuracy": shown.run.metrics.get("model_accuracy"),
        "model_forced_choice": shown.run.metrics.get("model_forced_choice"),
        "heads": sum(inside[series.first_shown] for inside in series.heads.values()),
    }


def _roles(site: Site, task: Task) -> list[Data]:
    """Return the roles that heads have on the prompts of the task."""
    rows = []
    for role in ROLES.values():
        found: dict[str, tuple[Model, list[HeadRole]]] = {}
        for model, held in site.holders.get(role.name, ()):
            if held.on == task.name:
                found.setdefault(model.slug, (model, []))[1].append(held)
        if found:
            models = [_role_heads(model, all_held) for model, all_held in found.values()]
            rows.append({"role": role, "models": models})
    return rows


def _role_heads(model: Model, all_held: list[HeadRole]) -> Data:
    first = sorted(all_held, key=lambda held: held.rank)[:_MAX_HEADS]
    return {
        "model": model,
        "heads": [held.node for held in first],
        "more": len(all_held) - len(first),
    }
