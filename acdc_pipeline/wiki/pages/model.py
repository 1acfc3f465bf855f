"""The page of a model: mosaics of every score, the heads of each kind, the circuits found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.plotting.heatmap import draw_mosaic
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki import numbers
from acdc_pipeline.wiki.circuits import Cut, Question, measured_facts, other_faithfulness
from acdc_pipeline.wiki.models import Model, head_name
from acdc_pipeline.wiki.notes import MODEL as NOTE
from acdc_pipeline.wiki.page import frame
from acdc_pipeline.wiki.pages.mosaics import MOST_LINKED, describe_mosaic
from acdc_pipeline.wiki.scores import by_family, definition_of, task_of
from acdc_pipeline.wiki.site import Chapter

Facts = dict[str, Any]

_TOP = 5
_WIDEST, _HIGHEST, _LARGEST_CELL, _SMALLEST_CELL = 560, 460, 30, 3


def model_page(chapter: Chapter) -> Facts:
    """The facts of a model's page."""
    model = chapter.model
    cell = stage_cell(model)
    return {
        **frame(2, model.title, ("Models", "m/index.html"), (model.title, None)),
        "slug": model.slug,
        "model": model.title,
        "n_layers": model.n_layers,
        "n_heads": model.n_heads,
        "about": _about(model),
        "note": Markup(chapter.notes[NOTE]) if NOTE in chapter.notes else None,
        "cell": cell,
        "linked": model.total_heads <= MOST_LINKED,
        "groups": _groups(chapter),
        "kinds": _kinds(chapter),
        "circuits": [circuit_row(chapter, question) for question, *_ in model.questions.values()],
        "layers": _layers(chapter),
        "coverage": _coverage(chapter),
        "version": model.data_version,
    }


def stage_cell(model: Model) -> int:
    """Pixels of a head in the large mosaic."""
    fitting = min(_LARGEST_CELL, _WIDEST // model.n_layers, _HIGHEST // model.n_heads)
    return max(_SMALLEST_CELL, fitting)


def _about(model: Model) -> list[tuple[str, str]]:
    facts = [
        (
            "size",
            f"{numbers.counted(model.n_layers, 'layer')} of "
            f"{numbers.counted(model.n_heads, 'head')}",
        ),
        ("width", "unknown" if model.d_model is None else f"{model.d_model:,}"),
        ("revision", model.revision[:12]),
    ]
    if model.size is not None:
        facts.insert(2, ("weights in its layers", f"about {numbers.short(float(model.size))}"))
    if model.shape is not None:
        shape = (
            "attention only"
            if not model.shape.has_mlp
            else (
                "attention and MLP in parallel" if model.shape.parallel else "attention, then MLP"
            )
        )
        facts.insert(1, ("blocks", shape))
        facts.append(("edges", f"{model.shape.n_edges:,}"))
    return facts


def _groups(chapter: Chapter) -> list[Facts]:
    """Mosaics by what they are measured on; those of task prompts a group for each task."""
    model = chapter.model
    groups: dict[str, list[str]] = {}
    for family, metrics in by_family(model.scores).items():
        for metric in metrics:
            task = task_of(metric)
            groups.setdefault(family if task is None else f"on {task}", []).append(metric)
    # what needs no task first
    groups = dict(sorted(groups.items(), key=lambda group: task_of(group[1][0]) is not None))
    return [
        {
            "title": title[:1].upper() + title[1:],
            "mosaics": [_mosaic(chapter, metric) for metric in metrics],
        }
        for title, metrics in groups.items()
    ]


def _mosaic(chapter: Chapter, metric: str) -> Facts:
    model, definition = chapter.model, definition_of(metric)
    score, scale = model.scores[metric], chapter.rulers[metric]
    says = describe_mosaic(definition.title, score.values)
    return {
        "key": metric,
        "id": _identifier(chapter, metric),
        "title": definition.title,
        "claim": definition.claim,
        "slug": chapter.score_slugs[definition.name],
        "picture": draw_mosaic(score.values, scale, says),
        "scale": scale,
        "top": _top(score.values),
    }


def _identifier(chapter: Chapter, metric: str) -> str:
    slug, task = chapter.score_slugs[definition_of(metric).name], task_of(metric)
    return slug if task is None else f"{slug}.{chapter.tasks[task].slug}"


def _top(values: np.ndarray) -> list[Facts]:
    order = np.argsort(np.where(np.isfinite(values), -values, np.inf), axis=None, kind="stable")
    places = [np.unravel_index(index, values.shape) for index in order[:_TOP]]
    return [
        {"name": head_name(int(place[0]), int(place[1])), "value": float(values[place])}
        for place in places
        if np.isfinite(values[place])
    ]


def _kinds(chapter: Chapter) -> list[Facts]:
    """The heads of each kind, five at most, best first."""
    holders: dict[tuple[str, str | None], list[tuple[float, str, HeadRole]]] = {}
    for place, held in chapter.model.roles.items():
        for role in held:
            key = role.role, role.on
            holders.setdefault(key, []).append((-abs(role.value), head_name(*place), role))
    order = list(ROLES)
    ranked = sorted(holders.items(), key=lambda item: (order.index(item[0][0]), item[0][1] or ""))
    return [
        {
            "role": role,
            "title": ROLES[role].title,
            "task": task,
            "count": len(heads),
            "heads": [
                {"name": name, "value": held.value, "evidence": held.evidence[-1]}
                for _, name, held in sorted(heads, key=lambda h: (h[0], h[1]))[:_TOP]
            ],
        }
        for (role, task), heads in ranked
    ]


def circuit_row(chapter: Chapter, question: Question) -> Facts:
    """A task's circuits in a table of cuts."""
    task = chapter.tasks[question.task]
    return {
        "task": task.name,
        "title": task.title,
        "slug": task.slug,
        "method": question.spec.method.name,
        "metric": question.spec.method.metric,
        "cuts": [cut_facts(question, cut) for cut in question.cuts],
        "others": len(chapter.model.questions[question.task]) - 1,
    }


def cut_facts(question: Question, cut: Cut) -> Facts:
    """One circuit: how large, how faithful."""
    metrics = cut.run.metrics
    other = other_faithfulness(cut.run)
    return {
        "label": cut.label,
        "is_threshold": question.has_thresholds,
        "edges": len(cut.edges),
        "share": cut.share,
        "faithfulness": cut.faithfulness,
        "bar": round(100 * min(1.0, max(0.0, cut.faithfulness or 0.0)), 1),
        "other_metric": None if other is None else other[0],
        "other_faithfulness": None if other is None else other[1],
        "measured": measured_facts(cut.run.figures),
        "kl": metrics.get("kl"),
        "accuracy": metrics.get("accuracy"),
        "model_accuracy": metrics.get("model_accuracy"),
        "forced_choice": metrics.get("forced_choice"),
        "model_forced_choice": metrics.get("model_forced_choice"),
        "run": cut.run.run_id,
    }


def _layers(chapter: Chapter) -> list[Facts]:
    """Every head, layer by layer, with the roles it has."""
    model = chapter.model
    return [
        {
            "layer": layer,
            "heads": [
                {
                    "name": head_name(layer, head),
                    "head": head,
                    "roles": ", ".join(
                        dict.fromkeys(
                            _short(role.role) for role in chapter.model.roles.get((layer, head), ())
                        )
                    ),
                }
                for head in range(model.n_heads)
            ],
        }
        for layer in range(model.n_layers)
    ]


def _short(role: str) -> str:
    return role.replace("_", " ")


def _coverage(chapter: Chapter) -> list[str]:
    model = chapter.model
    plain = [metric for metric in model.scores if task_of(metric) is None]
    tasks = sorted({task for metric in model.scores if (task := task_of(metric))})
    lines = [
        f"{numbers.counted(len(plain), 'score')} of each head"
        if plain
        else "no scores: this model was not profiled (acdc heads MODEL does it)",
        f"scores on the prompts of {numbers.joined(tasks)}" if tasks else "no scores on prompts",
        f"circuits of {numbers.joined(list(model.questions))}"
        if model.questions
        else "no circuits",
        f"{numbers.counted(len(model.run_ids), 'run')} in all",
    ]
    if not model.nulls and model.scores:
        lines.append("no null was measured, so no roles are given")
    if chapter.unmeasured and model.scores:
        lines.append(f"not measured here: {numbers.joined(_titles(chapter.unmeasured))}")
    return lines


def _titles(metrics: Sequence[str]) -> list[str]:
    titles = []
    for metric in metrics:
        task = task_of(metric)
        titles.append(definition_of(metric).title.lower() + (f" on {task}" if task else ""))
    shown = titles[:8]
    return shown + ([f"{len(titles) - 8} more"] if len(titles) > 8 else [])
