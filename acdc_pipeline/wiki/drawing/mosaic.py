"""A mosaic: one cell a head, x = layer, y = head, colour = score (after Neel Nanda's induction
mosaic). Also the pictures of attention patterns, which use the same colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from acdc_pipeline.wiki.drawing.colour import palette
from acdc_pipeline.wiki.drawing.png import alpha_png, data_uri, indexed_pngs
from acdc_pipeline.wiki.drawing.ruler import Ruler
from acdc_pipeline.wiki.numbers import counted, number
from acdc_pipeline.wiki.scores import Grid

_LEVELS = 15
"""Steps of an attention pattern beyond none."""


@dataclass(frozen=True)
class Tile:
    """A picture for both themes: addresses that carry their own data.

    Args:
        light: on a light page.
        dark: on a dark page.
        says: what it shows, in a sentence.
    """

    light: str
    dark: str
    says: str


def mosaic(values: Grid, scale: Ruler, says: str) -> Tile:
    """The mosaic of one model: a pixel a head, layers from left to right."""
    cells = scale.colours(values).T
    return _tile(np.ascontiguousarray(cells), scale, says)


def attention_mask(weights: UInt8[np.ndarray, "row column"]) -> str:
    """An attention pattern as the mask of a coloured area: a row a query, a column a key.

    One picture for both themes: what is masked has the colour of the theme.
    """
    levels = np.rint(weights / 255 * _LEVELS).astype(np.uint8)
    return data_uri(alpha_png(levels, _LEVELS))


def mosaic_sentence(
    title: str, values: Grid, threshold: float | None, name: Callable[[int, int], str]
) -> str:
    """What a mosaic shows, for who cannot see it."""
    layers, heads = values.shape
    size = f"{title}, {counted(layers, 'layer')} by {counted(heads, 'head')}"
    if not np.isfinite(values).any():
        return f"{size}: not measured."
    layer, head = divmod(int(np.nanargmax(values)), heads)
    text = f"{size}: highest {number(float(values[layer, head]))} at {name(layer, head)}"
    if np.nanmin(values) < 0:
        low_layer, low_head = divmod(int(np.nanargmin(values)), heads)
        lowest = number(float(values[low_layer, low_head]))
        text += f", lowest {lowest} at {name(low_layer, low_head)}"
    if threshold is not None:
        above = int((values[np.isfinite(values)] >= threshold).sum())
        text += f"; {counted(above, 'head')} at or above {number(threshold)}"
    missing = int((~np.isfinite(values)).sum())
    return text + (f"; {counted(missing, 'head')} not measured." if missing else ".")


def _tile(cells: UInt8[np.ndarray, "row column"], scale: Ruler, says: str) -> Tile:
    palettes = [palette("light", scale.scale), palette("dark", scale.scale)]
    light, dark = map(data_uri, indexed_pngs(cells, palettes))
    return Tile(light, dark, says)
