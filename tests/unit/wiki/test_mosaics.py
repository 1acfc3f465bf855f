from __future__ import annotations

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest

from acdc_pipeline.wiki.site import describe_mosaic


def test_description_of_a_mosaic_gives_extremes_and_what_is_missing():
    values = np.array([[0.5, np.nan], [-0.25, 0.75]])
    assert describe_mosaic("Copying", values) == (
        "Copying, 2 layers by 2 heads: highest 0.75 at a1.h1, lowest −0.25 at a1.h0; "
        "1 head not measured."
    )
    assert describe_mosaic("X", np.full((1, 1), np.nan)).endswith("not measured.")


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_of_models_are_told_apart(theme: int):
    """By the distance of CIE 1976, of which 2.3 is just noticeable."""
    css = (files("acdc_pipeline.wiki") / "assets" / "figures.css").read_text(encoding="utf-8")
    found = re.findall(r"\.c\d { color: light-dark\(#(\w{6}), #(\w{6})\); }", css)
    assert len(found) == 8
    lab = [_lab(pair[theme]) for pair in found]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)) > 25


def _lab(code: str) -> np.ndarray:
    """sRGB (IEC 61966-2-1) as CIELAB with the white of D65."""
    rgb = np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ratio = np.array(matrix) @ linear / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
