"""One score in every model: the mosaic over models, and the heads that lead it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from acdc_pipeline.plotting.heatmap import draw_mosaic
from acdc_pipeline.wiki.models import Model, head_name
from acdc_pipeline.wiki.numbers import counted, number
from acdc_pipeline.wiki.scores import Grid, definition_of
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.text import name

Facts = dict[str, Any]

Panels = Mapping[str, list[Facts]]
"""The panels of each score, by metric."""

MOST_LINKED = 1000

_WIDEST, _HIGHEST = 190, 170
_LARGEST_CELL, _SMALLEST_CELL = 16, 2


def cell_size(site: Site) -> int:
    """Pixels of a head in the panels: the same for all models, so that size shows."""
    if not site.models:
        return _LARGEST_CELL
    # The few giants of a collection may be scaled down; the rest should not suffer.
    layers = np.quantile([m.n_layers for m in site.models], 0.9, method="higher")
    heads = np.quantile([m.n_heads for m in site.models], 0.9, method="higher")
    fitting = min(_LARGEST_CELL, int(_WIDEST // layers), int(_HIGHEST // heads))
    return max(_SMALLEST_CELL, fitting)


def is_linked(site: Site) -> bool:
    """Whether each cell of a mosaic over all models is a link.

    Of too many heads the links would weigh more than the rest of the page; there a panel leads to
    its model, and a program to the head.
    """
    return site.heads <= MOST_LINKED


def panels(site: Site, metric: str, root: str) -> list[Facts]:
    """A panel for every model that was measured."""
    title = definition_of(metric).title
    return [
        {
            "title": model.title,
            "href": f"{root}m/{model.slug}/index.html",
            "folder": f"{root}m/{model.slug}/",
            "slug": model.slug,
            "layers": model.n_layers,
            "heads": model.n_heads,
            "picture": draw_mosaic(
                model.scores[metric].values,
                site.rulers[metric],
                f"{name(model.title)}. " + describe_mosaic(title, model.scores[metric].values),
            ),
        }
        for model in site.models
        if metric in model.scores
    ]


def all_panels(site: Site, root: str) -> Panels:
    """The panels of every score by metric: pages of kinds and of scores show the same."""
    return {metric: panels(site, metric, root) for metric in site.metrics}


def leaders(site: Site, metric: str, root: str, count: int, sign: int = 1) -> list[Facts]:
    """The heads of highest score over all models; with `sign` -1 those of lowest."""
    rows: list[tuple[float, str, int, int, Model]] = []
    for model in site.models:
        score = model.scores.get(metric)
        if score is None:
            continue
        values = np.where(np.isfinite(score.values), -sign * score.values, np.inf)
        order = np.argsort(values, axis=None, kind="stable")[:count]
        for index, value in zip(order.tolist(), values.ravel()[order].tolist(), strict=True):
            if value < np.inf:
                layer, head = divmod(index, model.n_heads)
                rows.append((value, model.title, layer, head, model))
    rows.sort(key=lambda row: row[:4])
    return [
        {
            "model": title,
            "name": head_name(layer, head),
            "href": f"{root}m/{model.slug}/{head_name(layer, head)}.html",
            "value": float(model.scores[metric].values[layer, head]),
            "low": _end(model.scores[metric].low[layer, head]),
            "high": _end(model.scores[metric].high[layer, head]),
            "depth": model.depth(layer),
            "roles": _roles(model, layer, head),
        }
        for _, title, layer, head, model in rows[:count]
    ]


def describe_mosaic(title: str, values: Grid) -> str:
    """Describe a mosaic for readers who cannot see it."""
    layers, heads = values.shape
    size = f"{title}, {counted(layers, 'layer')} by {counted(heads, 'head')}"
    if not np.isfinite(values).any():
        return f"{size}: not measured."
    layer, head = divmod(int(np.nanargmax(values)), heads)
    text = f"{size}: highest {number(float(values[layer, head]))} at {head_name(layer, head)}"
    if np.nanmin(values) < 0:
        low_layer, low_head = divmod(int(np.nanargmin(values)), heads)
        lowest = number(float(values[low_layer, low_head]))
        text += f", lowest {lowest} at {head_name(low_layer, low_head)}"
    missing = int((~np.isfinite(values)).sum())
    return text + (f"; {counted(missing, 'head')} not measured." if missing else ".")


def tasks_measured(site: Site, key: str) -> Mapping[str, str]:
    """The metrics of a score by task; one entry under the empty name where it needs none."""
    found: dict[str, str] = {}
    for metric in site.metrics:
        name, _, task = metric.partition(":")
        if name == key:
            found[task] = metric
    return found


def _roles(model: Model, layer: int, head: int) -> str:
    held = model.roles.get((layer, head), ())
    return ", ".join(dict.fromkeys(role.role.replace("_", " ") for role in held))


def _end(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
