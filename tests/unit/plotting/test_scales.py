from __future__ import annotations

import numpy as np
import pytest

from acdc_pipeline.plotting.scales import (
    MISSING,
    STEPS,
    THEMES,
    ScaleKind,
    ScoreScale,
    palette,
    score_scale,
)


def lightness(colour: tuple[int, int, int]) -> float:
    """OKLab lightness of a colour, between 0 (black) and 1 (white)."""
    channels = np.array(colour) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    return float(np.array([0.2104542553, 0.7936177850, -0.0040720468]) @ np.cbrt(cones @ linear))


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
def test_scales_stay_apart_for_the_common_forms_of_colour_blindness(theme, scale: ScaleKind):
    """Ends and middle differ under Viénot's (1999) simulations of red and green blindness."""
    # linear RGB matrices of the simulation
    red_blind = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    green_blind = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    colours = np.array(palette(theme, scale)[::4]) / 255
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
def test_score_scale_is_bounded_by_the_definition_or_by_a_round_number(low, high, values, expected):
    found = score_scale(low, high, [np.array(values)])
    assert (found.low, found.high) == expected


def test_score_scale_is_not_stretched_by_one_outlier():
    values = np.concatenate([np.linspace(0, 1, 2000), [500.0]])
    found = score_scale(0.0, None, [values])
    assert found.high == 1.0
    assert found.exceeded
    assert found.position(500.0) == 1.0


def test_score_scale_gives_zero_the_middle_colour_of_a_signed_scale_and_missing_none():
    found = ScoreScale(-2.0, 2.0).colour_indices(np.array([[-2.0, 0.0, 2.0, np.nan]]))
    assert found.tolist() == [[1, 1 + STEPS // 2, STEPS, MISSING]]
