"""Small pictures of grids: indexed PNG, one pixel a cell, as data that a page carries with it."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from itertools import chain

import numpy as np
from jaxtyping import UInt8

from acdc_pipeline.wiki.drawing.colour import RGB

MISSING = 0
"""Index of a cell without a value: transparent. The colours of a palette follow from 1."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def indexed_png(cells: UInt8[np.ndarray, "row column"], palette: Sequence[RGB]) -> bytes:
    """A picture of `cells`, each `MISSING` or 1 + the index of a colour in `palette`.

    The same cells give the same bytes, with the same zlib (PNG 1.2, RFC 2083).
    """
    (picture,) = indexed_pngs(cells, [palette])
    return picture


def indexed_pngs(
    cells: UInt8[np.ndarray, "row column"], palettes: Sequence[Sequence[RGB]]
) -> list[bytes]:
    """The same picture in several palettes: what they share is compressed once."""
    rows, columns = cells.shape
    # Filter 0 before each row: neighbouring indexes are not neighbouring numbers.
    lines = np.zeros((rows, 1 + columns), np.uint8)
    lines[:, 1:] = cells
    before = _SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0))
    after = (
        _chunk(b"tRNS", b"\x00")
        + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
        + _chunk(b"IEND", b"")
    )
    return [
        before + _chunk(b"PLTE", bytes(chain((0, 0, 0), *palette))) + after for palette in palettes
    ]


def alpha_png(levels: UInt8[np.ndarray, "row column"], most: int) -> bytes:
    """A mask: level 0 lets nothing through, level `most` (at most 15) everything."""
    rows, columns = levels.shape
    width = columns + columns % 2
    padded = np.zeros((rows, width), np.uint8)
    padded[:, :columns] = levels
    packed = (padded[:, ::2] << 4) | padded[:, 1::2]
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), packed], axis=1)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 4, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(3 * (most + 1))),
            _chunk(b"tRNS", bytes(round(255 * level / most) for level in range(most + 1))),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def data_uri(png: bytes) -> str:
    """A PNG as an address that needs no file."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
