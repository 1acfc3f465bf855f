"""Sums of few rows of a table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acdc_pipeline.engine import shared_outputs
from acdc_pipeline.engine.shared_outputs import sum_rows


@pytest.mark.parametrize("positions", [1, 6, 7])
@pytest.mark.parametrize("piece", [1, 9, 4096])
def test_rows_are_summed_in_their_order_whatever_the_pieces(
    positions: int, piece: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shared_outputs, "_PIECE", piece)
    table = torch.randn(5, positions * 3, generator=torch.Generator().manual_seed(0))
    terms = {0: [4, 1, 1], 2: [3], 3: [0, 2, 4, 1], 5: [2, 0]}  # sums 1, 4 and 6 have none
    rows = np.array([row for some in terms.values() for row in some])
    sums = np.array([number for number, some in terms.items() for _ in some])
    found = sum_rows(table, rows, sums, 7, positions)
    for number, total in enumerate(found):
        expected = torch.zeros(positions * 3)
        for row in terms.get(number, []):
            expected += table[row]
        assert torch.equal(total, expected)
