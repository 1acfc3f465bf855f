from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest

from acdc_pipeline.wiki.drawing.colour import STEPS, THEMES, Scale, lightness, palette
from acdc_pipeline.wiki.drawing.mosaic import attention_mask, mosaic, mosaic_sentence
from acdc_pipeline.wiki.drawing.png import MISSING, indexed_png
from acdc_pipeline.wiki.drawing.ruler import Ruler, ruler
from acdc_pipeline.wiki.models import head_name


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


def test_png_holds_the_cells_row_by_row_and_makes_missing_ones_transparent():
    cells = np.array([[1, 2, MISSING], [2, 1, 1]], np.uint8)
    found = chunks(indexed_png(cells, ((10, 20, 30), (40, 50, 60))))
    assert struct.unpack(">IIBB", found[b"IHDR"][:10]) == (3, 2, 8, 3)
    assert found[b"PLTE"] == bytes((0, 0, 0, 10, 20, 30, 40, 50, 60))
    assert found[b"tRNS"] == b"\x00"
    assert zlib.decompress(found[b"IDAT"]) == bytes((0, 1, 2, 0, 0, 2, 1, 1))


def test_attention_mask_packs_two_cells_a_byte_and_rounds_to_sixteen_levels():
    weights = np.array([[255, 0, 128]], np.uint8)
    uri = attention_mask(weights)
    found = chunks(base64.b64decode(uri.removeprefix("data:image/png;base64,")))
    # 255 -> 15, 0 -> 0, 128 -> round(7.53) = 8, then a cell of padding
    assert zlib.decompress(found[b"IDAT"]) == bytes((0, 0xF0, 0x80))
    assert found[b"tRNS"][0] == 0
    assert found[b"tRNS"][15] == 255


def test_mosaic_has_layers_across_and_heads_down():
    values = np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    tile = mosaic(values, Ruler(0.0, 1.0), "says")
    found = chunks(base64.b64decode(tile.light.removeprefix("data:image/png;base64,")))
    assert struct.unpack(">II", found[b"IHDR"][:8]) == (3, 2)
    # the second row is head 1: brightest in layer 0
    assert zlib.decompress(found[b"IDAT"]) == bytes((0, 1, 1, 1, 0, STEPS, 1, 1))


def test_mosaic_sentence_tells_extremes_line_and_what_is_missing():
    values = np.array([[0.5, np.nan], [-0.25, 0.75]])
    assert mosaic_sentence("Copying", values, 0.5, head_name) == (
        "Copying, 2 layers by 2 heads: highest 0.75 at a1.h1, lowest −0.25 at a1.h0; "
        "2 heads at or above 0.5; 1 head not measured."
    )
    assert mosaic_sentence("X", np.full((1, 1), np.nan), None, head_name).endswith("not measured.")


@pytest.mark.parametrize("theme", THEMES)
def test_share_scale_changes_its_lightness_by_even_steps_in_one_direction(theme):
    light = np.array([lightness(colour) for colour in palette(theme, "share")])
    steps = np.diff(light) if theme == "dark" else -np.diff(light)
    assert (steps > 0).all()
    assert steps.max() < 4 * steps.min()


@pytest.mark.parametrize("theme", THEMES)
def test_signed_scale_is_nearest_to_the_page_at_zero_and_as_far_from_it_at_both_ends(theme):
    light = [lightness(colour) for colour in palette(theme, "signed")]
    middle = STEPS // 2
    ground = max(light) if theme == "light" else min(light)
    assert light[middle] == ground
    assert abs(light[0] - light[-1]) < 0.05
    r, g, b = palette(theme, "signed")[middle]
    assert max(r, g, b) - min(r, g, b) < 12


@pytest.mark.parametrize("scale", ["share", "signed"])
@pytest.mark.parametrize("theme", THEMES)
def test_scales_stay_apart_for_the_common_forms_of_colour_blindness(theme, scale: Scale):
    """Ends and middle differ under Viénot's (1999) simulations of red and green blindness."""
    # linear RGB matrices of the simulation
    red_blind = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    green_blind = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    colours = np.array(palette(theme, scale, 9)) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    for matrix in (red_blind, green_blind):
        seen = linear @ matrix.T
        for i in range(0, 9, 2):
            for j in range(i + 2, 9, 2):
                assert np.abs(seen[i] - seen[j]).max() > 0.03, (i, j)


@pytest.mark.parametrize(
    ("low", "high", "values", "expected"),
    [
        (0.0, 1.0, [0.2, 0.3], (0.0, 1.0)),
        (-1.0, 1.0, [0.2], (-1.0, 1.0)),
        (0.0, None, [0.2, 1.7], (0.0, 2.0)),
        (None, None, [0.2, -3.2], (-4.0, 4.0)),
        (None, None, [], (-1.0, 1.0)),
        (0.0, None, [0.0], (0.0, 1.0)),
    ],
)
def test_ruler_is_bounded_by_the_definition_or_by_a_round_number(low, high, values, expected):
    found = ruler(low, high, [np.array(values)])
    assert (found.low, found.high) == expected


def test_ruler_is_not_stretched_by_one_wild_head():
    values = np.concatenate([np.linspace(0, 1, 2000), [500.0]])
    found = ruler(0.0, None, [values])
    assert found.high == 1.0
    assert found.exceeded
    assert found.place(500.0) == 1.0


def test_ruler_gives_zero_the_middle_colour_of_a_signed_scale_and_missing_none():
    found = Ruler(-2.0, 2.0).colours(np.array([[-2.0, 0.0, 2.0, np.nan]]))
    assert found.tolist() == [[1, 1 + STEPS // 2, STEPS, MISSING]]
