"""Heat maps: one score of every head, and attention patterns, as pictures or as characters.

A mosaic shows one score of every head: a cell per head, layers from left to right, heads from top
to bottom (after Neel Nanda's induction mosaic).
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float64, UInt8

from acdc_pipeline.plotting.scales import MISSING, THEMES, ScaleKind, ScoreScale, Theme, palette

_LEVELS = 15
"""Steps of attention above zero."""

_SHADES = " ░▒▓█"
_NEGATIVE_SHADES = " -=≡≣"
"""Characters for quarters of the scale."""


@dataclass(frozen=True)
class ThemedPicture:
    """A picture in the colours of both themes, as data URIs."""

    light: str
    dark: str
    label: str

    @property
    def background(self) -> str:
        """The picture as CSS variables of both themes."""
        return f"--l:url({self.light});--d:url({self.dark})"


def draw_mosaic(
    values: Float64[np.ndarray, "layer head"], scale: ScoreScale, label: str
) -> ThemedPicture:
    """Draw one score of every head, a pixel each; heads without a value are transparent.

    The palette of the pictures has the colours in use.
    """
    colours = scale.colour_indices(values).T
    used = np.flatnonzero(np.bincount(colours.ravel()))
    numbers = np.zeros(used[-1] + 1, np.uint8)
    numbers[used] = np.arange(len(used))
    depth = next(bits for bits in (1, 2, 4, 8) if len(used) <= 1 << bits)
    pixels = _compress(numbers[colours], depth)
    opacity = b"\x00" if used[0] == MISSING else b""
    light, dark = (
        _png_uri(pixels, colours.shape, depth, table[used].tobytes(), opacity)
        for table in (_colour_table(theme, scale.kind) for theme in THEMES)
    )
    return ThemedPicture(light, dark, label)


def draw_attention_mask(weights: UInt8[np.ndarray, "row column"]) -> str:
    """Draw an attention pattern as a CSS mask by luminance: a row per query, a column per key.

    The page colours the masked area, so that one picture serves both themes.
    """
    cells = np.rint(weights / 255 * _LEVELS).astype(np.uint8)
    return _png_uri(_compress(cells, 4), cells.shape, 4)


@cache
def _colour_table(theme: Theme, kind: ScaleKind) -> UInt8[np.ndarray, "colour 3"]:
    """Return the colours of a scale, the missing one first."""
    return np.array([(0, 0, 0), *palette(theme, kind)], np.uint8)


def _compress(cells: UInt8[np.ndarray, "row column"], depth: int) -> bytes:
    """Return the pixels of a PNG without filters, of `depth` bits each."""
    rows, columns = cells.shape
    packed = cells
    if depth < 8:
        bits = cells[..., None] >> np.arange(depth - 1, -1, -1, dtype=np.uint8) & 1
        packed = np.packbits(bits.reshape(rows, columns * depth), axis=1)
    lines = np.zeros((rows, 1 + packed.shape[1]), np.uint8)
    lines[:, 1:] = packed  # a zero before each row: no filter
    return zlib.compress(lines.tobytes(), 9)


def _png_uri(
    pixels: bytes, shape: tuple[int, ...], depth: int, colours: bytes = b"", opacity: bytes = b""
) -> str:
    """Return a PNG as a data URI: with a palette, or of grey.

    Encoded here: image libraries take ten times as long for so few pixels, and their filters make
    pictures with less than a byte a pixel larger.
    """
    rows, columns = shape
    parts = [(b"IHDR", struct.pack(">IIBBBBB", columns, rows, depth, 3 if colours else 0, 0, 0, 0))]
    if colours:
        parts += [(b"PLTE", colours), *([(b"tRNS", opacity)] if opacity else [])]
    parts += [(b"IDAT", pixels), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


@dataclass(frozen=True)
class TextMosaic:
    """One score of every head as characters.

    Args:
        values: by layer and head; heads without a value are left out.
        scale: its `high` is shown by the darkest shade.
    """

    values: Mapping[tuple[int, int], float]
    layers: int
    heads: int
    scale: ScoreScale

    def shade(self, layer: int, head: int) -> str:
        """Return the character of a head; a dot if it has no value."""
        value = self.values.get((layer, head))
        if value is None:
            return "·"
        share = value / self.scale.high if self.scale.high else 0.0
        shades = _SHADES if share >= 0 else _NEGATIVE_SHADES
        return shades[min(4, round(4 * abs(share)))]

    def table(self, width: int) -> list[list[str]]:
        """Return the cells row by row, the layer numbers first.

        Cells contain numbers where a table of at most `width` columns has space for them.
        """
        layers, heads = range(self.layers), range(self.heads)
        shades = {(layer, head): 2 * self.shade(layer, head) for layer in layers for head in heads}
        cells = {place: f"{shade} {self._number(place)}" for place, shade in shades.items()}
        widest = max(map(len, cells.values()))
        if len(f"h{self.heads - 1}") + self.layers * (widest + 2) > width:
            cells = shades
        header = ["", *map(str, layers)]
        return [
            header,
            *([f"h{head}", *(cells[layer, head] for layer in layers)] for head in heads),
        ]

    def _number(self, place: tuple[int, int]) -> str:
        value = self.values.get(place)
        return "–" if value is None else f"{value:.{2 if self.scale.high < 100 else 0}f}"
