"""What a worker takes where nobody says."""

from __future__ import annotations

import pytest

from acdc_pipeline.execution.ray_executor.allotment import round_down


@pytest.mark.parametrize(
    ("size", "rounded"),
    [
        (0.5, 1),
        (1.0, 1),
        (2.9, 2),
        (3.0, 3),
        (5.9, 4),
        (7.0, 6),
        (95.9, 64),
        (96.0, 96),
        (1e9, 2**29 + 2**28),
    ],
)
def test_round_down(size: float, rounded: int):
    assert round_down(size) == rounded
