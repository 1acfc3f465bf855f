"""The page of a task: what it asks, and how every model answers it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.circuits import Question
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.page import frame
from acdc_pipeline.wiki.pages.model import cut_facts
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.tasks import Task

Facts = dict[str, Any]

_SHOWN_HEADS = 6


def task_pages(site: Site) -> Iterator[tuple[str, Facts]]:
    """The facts of every task's page by slug."""
    for task in site.tasks.values():
        yield task.slug, _page(site, task)


def task_index(site: Site) -> Facts:
    """The facts of the list of tasks."""
    return frame(1, "Tasks", ("Tasks", None)) | {
        "rows": [
            {
                "title": task.title,
                "name": task.name,
                "slug": task.slug,
                "behaviour": task.behaviour,
                "models": sum(task.name in model.questions for model in site.models),
                "circuits": sum(
                    len(question.cuts)
                    for model in site.models
                    for question in model.questions.get(task.name, ())
                ),
            }
            for task in site.tasks.values()
        ]
    }


def _page(site: Site, task: Task) -> Facts:
    asked = [(m, m.questions[task.name][0]) for m in site.models if task.name in m.questions]
    labels = _columns([question for _, question in asked])
    reference = task.reference
    rows = [_row(model, question, labels) for model, question in asked]
    return {
        **frame(2, task.title, ("Tasks", "t/index.html"), (task.title, None)),
        "name": task.name,
        "title": task.title,
        "slug": task.slug,
        "behaviour": task.behaviour,
        "source": task.source,
        "reference": None
        if reference is None
        else {
            "model": reference.model,
            "source": reference.source,
            "note": reference.note,
            "heads": len(reference.heads),
            "groups": [
                {"name": name.replace("_", " "), "members": " ".join(map(str, group.nodes))}
                for name, group in reference.groups.items()
            ],
        },
        "labels": labels,
        "any_other": any(not question.has_thresholds for _, question in asked),
        "rows": rows,
        "any_null": any(row["above_null"] is not None for row in rows),
        "kinds": _kinds(site, task),
    }


def _columns(questions: list[Question]) -> list[str]:
    """The thresholds of any model, the most demanding first."""
    found = {
        cut.threshold: cut.label
        for question in questions
        for cut in question.cuts
        if cut.threshold is not None
    }
    return [found[threshold] for threshold in sorted(found, reverse=True)]


def _row(model: Model, question: Question, labels: list[str]) -> Facts:
    by_label = {cut.label: cut_facts(question, cut) for cut in question.cuts}
    best = question.cuts[question.shown]
    return {
        "model": model.title,
        "slug": model.slug,
        "cells": [by_label.get(label) if question.has_thresholds else None for label in labels],
        "other": None
        if question.has_thresholds
        else cut_facts(question, best) | {"method": question.spec.method.name},
        "above_null": best.run.figures.percentile,
        "model_accuracy": best.run.metrics.get("model_accuracy"),
        "model_forced_choice": best.run.metrics.get("model_forced_choice"),
        "heads": sum(at[question.shown] for at in question.heads.values()),
        "total_heads": model.total_heads,
    }


def _kinds(site: Site, task: Task) -> list[Facts]:
    """The kinds that heads are of on this task's prompts."""
    rows = []
    for role in ROLES.values():
        found: dict[str, tuple[Model, list[HeadRole]]] = {}
        for model, held in site.holders.get(role.name, ()):
            if held.on == task.name:
                found.setdefault(model.slug, (model, []))[1].append(held)
        if found:
            models = [_held(model, all_held) for model, all_held in found.values()]
            rows.append({"role": role.name, "title": role.title, "models": models})
    return rows


def _held(model: Model, all_held: list[HeadRole]) -> Facts:
    first = sorted(all_held, key=lambda held: held.rank)[:_SHOWN_HEADS]
    return {
        "model": model.title,
        "slug": model.slug,
        "heads": [str(held.node) for held in first],
        "more": len(all_held) - len(first),
    }
