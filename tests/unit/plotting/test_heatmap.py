from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
from PIL import Image

from acdc_pipeline.plotting.heatmap import TextMosaic, draw_attention_mask, draw_mosaic
from acdc_pipeline.plotting.scales import STEPS, ScoreScale, palette


def chunks(png: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG by name, each with a right checksum."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        (check,) = struct.unpack(">I", png[at + 8 + length : at + 12 + length])
        assert check == zlib.crc32(kind + data)
        found[kind] = data
        at += 12 + length
    return found


def picture(uri: str) -> dict[bytes, bytes]:
    return chunks(base64.b64decode(uri.removeprefix("data:image/png;base64,")))


def test_mosaic_has_the_colours_of_its_theme_and_makes_missing_heads_transparent():
    values = np.array([[0.0, np.nan], [1.0, 0.0]])
    tile = draw_mosaic(values, ScoreScale(0.0, 1.0), "label")
    for uri, theme in ((tile.light, "light"), (tile.dark, "dark")):
        found = picture(uri)
        assert struct.unpack(">IIBB", found[b"IHDR"][:10]) == (2, 2, 2, 3)
        colours = palette(theme, "share")
        image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA")
        assert np.asarray(image)[[0, 0, 1], [0, 1, 1], :3].tolist() == [
            list(colours[0]),
            list(colours[STEPS - 1]),
            list(colours[0]),
        ]
        assert np.asarray(image)[..., 3].tolist() == [[255, 255], [0, 255]]
        assert len(found[b"PLTE"]) == 3 * 3


def test_attention_mask_rounds_to_sixteen_levels_of_luminance():
    weights = np.array([[255, 0, 128]], np.uint8)
    uri = draw_attention_mask(weights)
    found = picture(uri)
    # bit depth 4, grey
    assert struct.unpack(">BB", found[b"IHDR"][8:10]) == (4, 0)
    assert not found.keys() & {b"PLTE", b"tRNS"}
    # of fifteen levels 255 is the 15th, and 128 the round(7.53) = 8th
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L")
    assert np.asarray(image).tolist() == [[255, 0, 8 * 17]]


def test_mosaic_has_layers_across_and_heads_down():
    values = np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    tile = draw_mosaic(values, ScoreScale(0.0, 1.0), "label")
    found = picture(tile.light)
    assert struct.unpack(">II", found[b"IHDR"][:8]) == (3, 2)
    # of two colours, so a bit each; the second row is head 1: brightest in layer 0
    assert zlib.decompress(found[b"IDAT"]) == bytes((0, 0, 0, 0b10000000))


def text_mosaic(values: dict[tuple[int, int], float], high: float) -> TextMosaic:
    return TextMosaic(values, layers=2, heads=2, scale=ScoreScale(-high, high))


def test_mosaic_shades_are_quarters_of_the_scale_in_both_directions():
    steps = text_mosaic({(0, 0): 0.1, (1, 0): 0.26, (0, 1): -0.5, (1, 1): 1.0}, high=1.0)
    places = [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert [steps.shade(*place) for place in places] == [" ", "░", "=", "█"]
    assert text_mosaic({}, high=1.0).shade(0, 0) == "·"
    assert text_mosaic({(0, 0): 0.0}, high=0.0).shade(0, 0) == " "


def test_mosaic_leaves_out_numbers_where_there_is_no_room():
    values = {(layer, head): 0.5 for layer in range(2) for head in range(2)}
    assert text_mosaic(values, 1.0).table(100) == [
        ["", "0", "1"],
        ["h0", "▒▒ 0.50", "▒▒ 0.50"],
        ["h1", "▒▒ 0.50", "▒▒ 0.50"],
    ]
    assert text_mosaic(values, 1.0).table(12)[1] == ["h0", "▒▒", "▒▒"]
