"""The page of a model: mosaics of its scores, the heads with each role, its circuits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from acdc_pipeline.heads.habits import lead_place
from acdc_pipeline.plotting.heatmap import draw_mosaic
from acdc_pipeline.wiki import text
from acdc_pipeline.wiki.circuits import CircuitSeries, split_positions
from acdc_pipeline.wiki.experts import expert_sections
from acdc_pipeline.wiki.models import Model, head_name
from acdc_pipeline.wiki.notes import MODEL as NOTE
from acdc_pipeline.wiki.page import Data, SectionPage, frame
from acdc_pipeline.wiki.pages.circuit import circuit_path, circuit_warnings, cut_data
from acdc_pipeline.wiki.pages.groups import group_lines
from acdc_pipeline.wiki.pages.mosaics import MAX_LINKED, telling_metric
from acdc_pipeline.wiki.pages.plain_names import plain_name
from acdc_pipeline.wiki.pages.removal import removal_loss
from acdc_pipeline.wiki.scores import definition_of, group_by_task, label_metrics, task_of
from acdc_pipeline.wiki.site import Section, describe_mosaic

_TOP = 5
_MAX_TITLES = 8
_MAX_WIDTH, _MAX_HEIGHT, _MAX_CELL, _MIN_CELL = 560, 460, 30, 3


class ModelPage(SectionPage[None]):
    """The page of a model."""

    template = "model.html"

    def paths(self) -> Iterator[tuple[str, None]]:
        yield f"m/{self.section.model.slug}/index.html", None

    def data(self, _: None) -> Data:
        section, model = self.section, self.section.model
        fitting = min(_MAX_CELL, _MAX_WIDTH // model.n_layers, _MAX_HEIGHT // max(1, model.n_heads))
        return {
            **frame(2, model.title, ("Models", "m/index.html"), (model.title, None)),
            "model": model,
            "about": _about(model),
            "note": Markup(section.notes[NOTE]) if NOTE in section.notes else None,
            "cell": max(_MIN_CELL, fitting),
            "linked": model.total_heads <= MAX_LINKED,
            "plain": plain_name(model),
            "first": telling_metric([model]) or next(iter(model.scores), None),
            "relatives": section.relatives,
            "group_lines": group_lines(model),
            "groups": [
                {
                    "title": title[:1].upper() + title[1:],
                    "count": len(metrics),
                    "mosaics": [_mosaic(section, metric) for metric in metrics],
                }
                for title, metrics in group_by_task(model.scores).items()
            ],
            "experts": expert_sections(
                (profile.task, profile.experts)
                for profile in model.profiles
                if profile.experts is not None
            ),
            "kinds": _roles(model),
            "circuits": [_circuits(section, series) for series, *_ in model.circuits.values()],
            "roles": {head_name(*place): model.role_names(place) for place in model.roles},
            "coverage": _coverage(section),
        }


def _about(model: Model) -> list[tuple[str, str]]:
    layers, heads = text.pluralize(model.n_layers, "layer"), text.pluralize(model.n_heads, "head")
    having = len(model.layers_with_heads)
    rows = [("size", f"{layers} of {heads}" if having == model.n_layers else layers)]
    if having not in (0, model.n_layers):
        rows.append(("attention", f"{heads} in each of {text.pluralize(having, 'layer')}"))
    if model.shape is not None:
        if model.shape.layers:
            blocks = str(model.shape)
        elif not model.shape.has_mlp:
            blocks = "attention only"
        elif model.shape.parallel:
            blocks = "attention and MLP in parallel"
        else:
            blocks = "attention, then MLP"
        rows.append(("blocks", blocks))
    rows.append(("width", "unknown" if model.d_model is None else f"{model.d_model:,}"))
    if model.size is not None:
        rows.append(("weights in its layers", f"about {text.abbreviate(float(model.size))}"))
    rows.append(("revision", model.revision[:12]))
    if model.shape is not None:
        rows.append(("edges", f"{model.shape.n_edges:,}"))
    return rows


def _mosaic(section: Section, metric: str) -> Data:
    score, values = section.scores[metric], section.model.scores[metric].values
    title = score.title
    suffix = "" if score.task is None else f".{section.tasks[score.task].slug}"
    return {
        "score": score,
        "id": f"{score.slug}{suffix}",
        "picture": draw_mosaic(
            values, score.scale, describe_mosaic(title, values, section.model.empty_cells)
        ),
        "top": _top(values),
    }


def _top(values: np.ndarray) -> list[tuple[str, float]]:
    order = np.argsort(np.where(np.isfinite(values), -values, np.inf), axis=None, kind="stable")
    places = [divmod(index, values.shape[1]) for index in order[:_TOP].tolist()]
    return [(head_name(*p), float(values[p])) for p in places if np.isfinite(values[p])]


def _roles(model: Model) -> list[Data]:
    found: dict[tuple[str, str | None], list[tuple[float, float, str, float, float]]] = {}
    for place, roles in model.roles.items():
        for held in roles:
            loss = removal_loss(model, place, held.on)
            order = np.inf if np.isnan(loss) else -loss, -abs(held.value)
            found.setdefault((held.role, held.on), []).append(
                (*order, head_name(*place), held.value, loss)
            )
    ranked = sorted(found.items(), key=lambda item: (lead_place(item[0][0]), item[0][1] or ""))
    return [
        {
            "role": role,
            "task": task,
            "count": len(heads),
            "heads": [head[2:] for head in sorted(heads)[:_TOP]],
        }
        for (role, task), heads in ranked
    ]


def _circuits(section: Section, series: CircuitSeries) -> Data:
    plain, by_span = split_positions(section.model.circuits[series.task])
    same, different = (by_span, ()) if series.by_span else (plain, by_span)
    return {
        "task": section.tasks[series.task],
        "method": series.spec.method,
        "warnings": circuit_warnings(series, section.tasks[series.task]),
        "cuts": [cut_data(series, cut) for cut in series.cuts],
        "by_span": series.by_span,
        "others": len(same) - 1,
        "spans": len(different[0].cuts) if different else 0,
        "spans_path": circuit_path(section, different[0]) if different else None,
    }


def _coverage(section: Section) -> list[str]:
    model = section.model
    plain = [metric for metric in model.scores if task_of(metric) is None]
    tasks = sorted({task for metric in model.scores if (task := task_of(metric))})
    lines = [
        f"{text.pluralize(len(plain), 'score')} of each head"
        if plain
        else "no scores: this model was not profiled; acdc heads MODEL does that",
        f"scores on the prompts of {text.join_words(tasks)}" if tasks else "no scores on prompts",
        f"circuits of {text.join_words(list(model.circuits))}" if model.circuits else "no circuits",
        *_on_text(model),
        f"{text.pluralize(len(model.run_ids), 'run')} in all",
    ]
    if not model.nulls and model.scores:
        lines.append("no null was measured; therefore no roles are given")
    if section.unmeasured and model.scores:
        lines.append(f"not measured here: {text.join_words(_titles(section.unmeasured))}")
    return [*lines, *map(label_metrics, model.warnings)]


def _on_text(model: Model) -> list[str]:
    """Say how much of all attention rests on the first token of ordinary text, if measured."""
    if model.text is None:
        return []
    found = (model.text.head(head_name(*place)) for place in model.places)
    rests = [one.attention["first"] for one in found if one is not None]
    mean = text.format_percent(float(np.mean(rests))) if rests else text.MISSING
    tokens = text.pluralize(model.text.tokens, "token")
    return [
        f"{tokens} of {text.show_name(model.text.title)}, on which {mean} of all attention rests "
        "on the first token; the page of a head has more"
    ]


def _titles(metrics: Sequence[str]) -> list[str]:
    titles = []
    for metric in metrics[:_MAX_TITLES]:
        task = task_of(metric)
        titles.append(definition_of(metric).title.lower() + (f" on {task}" if task else ""))
    more = len(metrics) - len(titles)
    return [*titles, f"{more} more"] if more else titles
