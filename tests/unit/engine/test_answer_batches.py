"""Prompts divided into batches that end at their last answers."""

from __future__ import annotations

import pytest
import torch

from acdc_pipeline.engine.answer_batches import AnswerBatch, answer_batches
from acdc_pipeline.engine.layout import Layout

# Of prompt 0, 2, 1 (twice), 3 and 4; the answers of prompt 1 end behind those of the others.
LAYOUT = Layout(5, 9, torch.tensor([0, 2, 1, 1, 3, 4]), torch.tensor([2, 2, 3, 7, 4, 2]))


def divided(*, least_rows: int, most_prompts: int = 9, one_sided: bool = True) -> list[AnswerBatch]:
    return answer_batches(
        LAYOUT, most_prompts=most_prompts, least_rows=least_rows, one_sided=one_sided
    )


def test_batches_end_behind_the_last_answer_of_their_prompts():
    found = [(batch.prompts, batch.layout.pos) for batch in divided(least_rows=1)]
    assert found == [([0, 2, 4], 3), ([3], 5), ([1], 8)]


def test_bidirectional_attention_reads_every_position():
    (batch,) = divided(least_rows=1, one_sided=False)
    assert (batch.prompts, batch.layout.pos) == ([0, 1, 2, 3, 4], 9)


def test_batches_have_the_least_number_of_rows_and_leave_as_many():
    # 3 * 3 rows, and 5 + 8 more. After the prompt of 5 only 8 would be left.
    found = [(batch.prompts, batch.layout.pos) for batch in divided(least_rows=9)]
    assert found == [([0, 2, 4], 3), ([1, 3], 8)]
    assert [batch.prompts for batch in divided(least_rows=10)] == [[0, 1, 2, 3, 4]]


def test_batches_have_no_more_prompts_than_fit():
    found = [batch.prompts for batch in divided(least_rows=1, most_prompts=2)]
    assert found == [[0, 2], [4], [3], [1]]


@pytest.mark.parametrize("least_rows", [1, 9, 100])
def test_each_answer_is_in_one_batch_at_its_own_token(least_rows: int):
    tokens = torch.arange(45).view(5, 9)
    outputs = torch.randn(3, 5, 9, 2)
    seen: list[int] = []
    for batch in divided(least_rows=least_rows):
        at = (batch.layout.answer_row, batch.layout.answer_pos)
        every = (LAYOUT.answer_row[batch.answers], LAYOUT.answer_pos[batch.answers])
        assert torch.equal(batch.tokens_of(tokens)[at], tokens[every])
        found = batch.outputs_of(outputs)
        some = outputs[:, batch.prompts, : batch.layout.pos]
        assert found.shape == some.shape[1:]
        for source in range(3):
            assert torch.equal(found.of(source), some[source])
            assert torch.equal(found.of(source, torch.empty(found.shape)), some[source])
        torch.testing.assert_close(found.sum(1, 3), some[1] + some[2])
        seen += batch.answers.tolist()
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]
