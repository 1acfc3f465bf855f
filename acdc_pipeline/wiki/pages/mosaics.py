"""One score in every model: a mosaic for each model, and the heads with the highest values."""

from __future__ import annotations

import numpy as np

from acdc_pipeline.wiki.models import Model, head_name
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.site import Site

MAX_LINKED = 1000
"""Number of heads up to which each cell of a mosaic is a link."""

_MAX_WIDTH, _MAX_HEIGHT = 190, 170
_MAX_CELL, _MIN_CELL = 16, 2


def mosaic_settings(site: Site) -> Data:
    """Return the size of a cell in pixels, and whether cells are links.

    All models have the same size of cell, so that the size of a model is visible. The links of too
    many heads would be larger than the rest of the page; a panel then links to its model, and a
    script finds the head.
    """
    linked = site.heads <= MAX_LINKED
    if not site.models:
        return {"cell": _MAX_CELL, "linked": linked}
    # a few very large models may be scaled down
    layers = np.quantile([m.n_layers for m in site.models], 0.9, method="higher")
    heads = np.quantile([m.n_heads for m in site.models], 0.9, method="higher")
    fitting = min(_MAX_CELL, int(_MAX_WIDTH // layers), int(_MAX_HEIGHT // heads))
    return {"cell": max(_MIN_CELL, fitting), "linked": linked}


def panel_rows(site: Site, metric: str) -> list[Data]:
    """Return a mosaic for every model with the score."""
    pictures = site.mosaics(metric)
    return [
        {
            "title": model.title,
            "slug": model.slug,
            "layers": model.n_layers,
            "heads": model.n_heads,
            "picture": pictures[model.slug],
        }
        for model in site.models
        if model.slug in pictures
    ]


def leader_rows(site: Site, metric: str, count: int, sign: int = 1) -> list[Data]:
    """Return the heads of all models with the highest values, or the lowest with `sign` -1."""
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
            "slug": model.slug,
            "name": head_name(layer, head),
            "value": float(model.scores[metric].values[layer, head]),
            "low": _none_if_nan(model.scores[metric].low[layer, head]),
            "high": _none_if_nan(model.scores[metric].high[layer, head]),
            "depth": model.depth(layer),
            "roles": model.role_names((layer, head)),
        }
        for _, title, layer, head, model in rows[:count]
    ]


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
