from __future__ import annotations

import numpy as np

from acdc_pipeline.wiki.site import describe_mosaic


def test_description_of_a_mosaic_gives_extremes_and_what_is_missing():
    values = np.array([[0.5, np.nan], [-0.25, 0.75]])
    assert describe_mosaic("Copying", values) == (
        "Copying, 2 layers by 2 heads: highest 0.75 at a1.h1, lowest −0.25 at a1.h0; "
        "1 head not measured."
    )
    assert describe_mosaic("X", np.full((1, 1), np.nan)).endswith("not measured.")
