"""One score in every model: a mosaic for each model, and the heads with the highest values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from markupsafe import Markup, escape

from acdc_pipeline.heads.habits import lead_place
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name, primary_metric
from acdc_pipeline.wiki.neighbours import COMMON_ROLES
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.text import pluralize, show_line, show_name

MAX_LINKED = 1000
"""Number of heads up to which each cell of a mosaic is a link."""

_MAX_WIDTH, _MAX_HEIGHT = 190, 170
_MAX_CELL, _MIN_CELL = 16, 2


_WIDESPREAD = 0.25
"""Share of the models from which a role is of interest to a visitor of all of them."""


def mosaic_settings(site: Site) -> Data:
    """Return the site, the size of a cell in pixels, and a function that draws panels.

    All models have the same size of cell, so that the size of a model is visible.
    """
    cell = _cell_size(site)
    return {"site": site, "cell": cell, "panels": partial(draw_panels, site, cell)}


def _cell_size(site: Site) -> int:
    if not site.models:
        return _MAX_CELL
    # a few very large models may be scaled down
    layers = np.quantile([m.n_layers for m in site.models], 0.9, method="higher")
    heads = np.quantile([m.n_heads for m in site.models], 0.9, method="higher")
    fitting = min(_MAX_CELL, int(_MAX_WIDTH // layers), int(_MAX_HEIGHT // max(1, heads)))
    return max(_MIN_CELL, fitting)


def draw_panels(
    site: Site,
    cell: int,
    metric: str,
    root: str,
    models: Sequence[Model] | None = None,
    names: Mapping[str, str] | None = None,
    counts: Mapping[str, int] | None = None,
) -> Markup:
    """Return a list of the mosaics of a score, each with the name of its model.

    The links of too many heads would be larger than the rest of the page; a panel then links to its
    model, and a script finds the head. Made here and not in a template, because there are as many
    as scores times models.

    Args:
        models: which models, in this order; None for all that have the score.
        names, counts: plain names and numbers of heads, by slug, shown after the title.
    """
    pictures = site.mosaics(metric)
    linked = site.heads <= MAX_LINKED
    parts = [f'<ul class="panels" style="--cell:{cell}px" data-metric="{escape(metric)}">\n']
    for model in site.models if models is None else models:
        if (picture := pictures.get(model.slug)) is None:
            continue
        folder = f"{root}m/{model.slug}"
        tile = (
            f'<span class="tile" role="img" aria-label="{escape(show_line(picture.label))}" '
            f'style="{picture.background}"></span>'
        )
        notes = [names[model.slug]] if names and model.slug in names else []
        if counts and model.slug in counts:
            notes.append(pluralize(counts[model.slug], "head"))
        parts.append(
            f'<li><div class="frame" data-slug="{model.slug}" '
            f'style="--w:{model.n_layers};--h:{model.n_heads}">'
            + (
                tile + _cell_links(model, folder)
                if linked
                else f'<a href="{folder}/index.html" tabindex="-1">{tile}</a>'
            )
            + f'</div><a href="{folder}/index.html"><bdi>{escape(show_name(model.title, 40))}</bdi>'
            + "".join(f" <small>{escape(show_line(note))}</small>" for note in notes)
            + "</a>\n"
        )
    return Markup("".join((*parts, "</ul>\n")))


def _cell_links(model: Model, folder: str) -> str:
    """Return a transparent drawing over a mosaic, in which each cell is a link to its head."""
    links = (
        f'<a href="{folder}/{head_name(layer, head)}.html" tabindex="-1">'
        f'<path d="M{layer} {head}h1v1h-1z"/></a>'
        for layer, head in model.places
    )
    return (
        f'<svg viewBox="0 0 {model.n_layers} {model.n_heads}" preserveAspectRatio="none" '
        f'aria-hidden="true">{"".join(links)}</svg>'
    )


def telling_metric(models: Sequence[Model]) -> str | None:
    """Return the score that decides on the role that says most (`lead_place`); None without roles.

    Of the roles that heads of at least a quarter of the models have, or else of that which heads of
    the most models have. Of several tasks that of the most models; roles of very many heads, such
    as sinks, come last.
    """
    found: dict[tuple[str, str | None], tuple[set[str], int]] = {}
    for model in models:
        for roles in model.roles.values():
            for held in roles:
                owners, _ = found.setdefault((held.role, held.on), (set(), lead_place(held.role)))
                owners.add(model.slug)
    if not found:
        return None

    enough = min(_WIDESPREAD * len(models), max(len(owners) for owners, _ in found.values()))

    def rank(key: tuple[str, str | None]) -> tuple[bool, bool, int, int, str]:
        owners, place = found[key]
        return len(owners) < enough, key[0] in COMMON_ROLES, place, -len(owners), key[1] or ""

    return primary_metric(*min(found, key=rank))


def leader_rows(site: Site, metric: str, count: int, sign: int = 1) -> list[Data]:
    """Return the heads of all models with the highest values, or the lowest with `sign` -1."""
    models = [model for model in site.models if metric in model.scores]
    if not models:
        return []
    grids = [model.scores[metric].values.ravel() for model in models]
    values = -sign * np.concatenate(grids)
    values[~np.isfinite(values)] = np.inf
    # all that are among the first ones, and those equal to the last of them
    last = np.partition(values, min(count, len(values)) - 1)[min(count, len(values)) - 1]
    found = np.flatnonzero((values <= last) & (values < np.inf))
    starts = np.cumsum([0, *map(len, grids)])
    rows: list[tuple[float, str, HeadIndex, Model]] = []
    for index, owner in zip(
        found.tolist(), (np.searchsorted(starts, found, "right") - 1).tolist(), strict=True
    ):
        model = models[owner]
        place = divmod(index - int(starts[owner]), model.n_heads)
        rows.append((float(values[index]), model.title, place, model))
    rows.sort(key=lambda row: row[:3])
    return [
        {
            "model": model,
            "place": place,
            "name": head_name(*place),
            "value": float(model.scores[metric].values[place]),
            "low": float(model.scores[metric].low[place]),
            "high": float(model.scores[metric].high[place]),
        }
        for *_, place, model in rows[:count]
    ]
