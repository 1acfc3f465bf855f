"""Attention on random tokens: closed forms, and a slow count over the patterns of the bridge."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.heads.batches import row_bytes
from acdc_pipeline.heads.random_tokens import (
    RepeatedSequences,
    draw_sequences,
    longest_period,
    random_token_scores,
)
from acdc_pipeline.models import load_model
from tests import checkpoints
from tests.hand_built import Stream

MEMORY = 1 << 28
PERIOD = 5
STREAM = Stream(vocab=12, positions=2 * PERIOD + 1)
LENGTH = 2 * PERIOD + 1


def sequences(vocab: int = 12, period: int = PERIOD, n: int = 3) -> RepeatedSequences:
    return draw_sequences(range(1, vocab), bos=0, period=period, n=n, seed=0)


def scores(*layers: Any) -> dict[str, np.ndarray]:
    """Mean over rows of every score, [layer head]."""
    found = random_token_scores(STREAM.weights(*layers), sequences().tokens, PERIOD, memory=MEMORY)
    return {name: samples.mean(0) for name, samples in found.samples.items()}


def harmonic(first: int, last: int) -> float:
    """Mean of 1 / (q + 1) over positions `first` to `last`."""
    return float(np.mean([1 / (q + 1) for q in range(first, last + 1)]))


def test_uniform_head_has_its_closed_form_everywhere():
    found = scores([STREAM.uniform()])
    everywhere = harmonic(1, LENGTH - 1)
    second = harmonic(PERIOD + 1, LENGTH - 1)
    expected = {
        "induction": second,
        "duplicate_token": second,
        "previous_token": everywhere,
        "current_token": everywhere,
        "sink": everywhere,
        "entropy": np.mean([math.log(q + 1) for q in range(1, LENGTH)]),
        "normalised_entropy": 1.0,
        "mean_distance": np.mean([q / 2 for q in range(1, LENGTH)]),
    }
    assert {name: found[name].item() for name in expected} == pytest.approx(expected)


def test_idle_head_looks_like_a_uniform_one_and_does_nothing():
    found = scores([STREAM.idle()])
    assert found["normalised_entropy"].item() == pytest.approx(1.0)
    assert found["copy_attribution"].item() == 0.0
    assert found["anti_induction"].item() == 0.0


def test_sink_looks_at_the_first_position_alone():
    found = scores([STREAM.sink()])
    expected = {
        "induction": 0.0,
        "duplicate_token": 0.0,
        # only from position 1 is the first position the one before
        "previous_token": 1 / (LENGTH - 1),
        "current_token": 0.0,
        "sink": 1.0,
        "entropy": 0.0,
        "normalised_entropy": 0.0,
        "mean_distance": np.mean(range(1, LENGTH)),
    }
    got = {name: found[name].item() for name in expected}
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("back", "score"),
    [
        (0, "current_token"),
        (1, "previous_token"),
        (PERIOD, "duplicate_token"),
        # the off-by-one that has been published: what followed stands n - 1 back, not n + 1
        (PERIOD - 1, "induction"),
    ],
)
def test_head_that_looks_a_fixed_way_back_has_its_score_and_no_other(back: int, score: str):
    found = scores([STREAM.offset(back)])
    assert found[score].item() == pytest.approx(1.0)
    for other in {"current_token", "previous_token", "duplicate_token", "induction"} - {score}:
        assert found[other].item() < 0.2
    assert found["mean_distance"].item() == pytest.approx(
        np.mean([back if q >= back else q / 2 for q in range(1, LENGTH)])
    )


def test_induction_by_two_heads_copies_and_its_negative_suppresses():
    previous = STREAM.offset(1, writes="copy")
    found = scores([previous], [STREAM.matching("copy", scale=3.0)])
    assert found["induction"][1, 0] == pytest.approx(1.0)
    # 3 on the right token, against a mean of 3/12 over the vocabulary
    assert found["copy_attribution"][1, 0] == pytest.approx(3 - 3 / 12)
    assert found["anti_induction"][1, 0] == pytest.approx(-(3 - 3 / 12))
    negative = scores([previous], [STREAM.matching("copy", scale=-3.0)])
    assert negative["anti_induction"][1, 0] == pytest.approx(3 - 3 / 12)


def test_attribution_through_the_source_is_part_of_the_whole():
    """A uniform head reads the right token at 1 of q + 1 places, twice when it is the repeated."""
    found = scores([STREAM.uniform()])
    queries = range(PERIOD + 1, 2 * PERIOD)
    through = np.mean([(1 - 1 / 12) / (q + 1) for q in queries])
    assert found["anti_induction"].item() == pytest.approx(-through)


def test_compiled_induction_scores_one_and_nothing_else_does():
    model = load_model("zoo:compiled-induction", device="cpu")
    drawn = draw_sequences(range(3, 63), bos=0, period=16, n=16, seed=0)
    found = random_token_scores(model.weights, drawn.tokens, 16, memory=MEMORY)
    induction = found.samples["induction"].mean(0)
    assert induction[1, 2] == pytest.approx(1.0, abs=1e-6)
    induction[1, 2] = 0
    assert induction.max() < 0.1
    previous = found.samples["previous_token"].mean(0)
    assert previous[0, 1] == pytest.approx(1.0, abs=1e-6)


def plain_scores(pattern: torch.Tensor, period: int) -> dict[str, float]:
    """One row of one head, counted position by position."""
    length = len(pattern)
    rows = pattern.tolist()
    second = range(period + 1, length)

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    def entropy(q: int) -> float:
        return -sum(a * math.log(a) for a in rows[q] if a > 0)

    return {
        "induction": mean([rows[q][q - (period - 1)] for q in second]),
        "duplicate_token": mean([rows[q][q - period] for q in second]),
        "previous_token": mean([rows[q][q - 1] for q in range(1, length)]),
        "current_token": mean([rows[q][q] for q in range(1, length)]),
        "sink": mean([rows[q][0] for q in range(1, length)]),
        "entropy": mean([entropy(q) for q in range(1, length)]),
        "mean_distance": mean(
            [sum(a * abs(q - k) for k, a in enumerate(rows[q])) for q in range(1, length)]
        ),
    }


@pytest.mark.parametrize(
    "ref",
    ["zoo:gpt2-4l-s0", "zoo:neox-4l", "zoo:llama-4l", "zoo:attn-4l", "zoo:nopos-2l"],
)
def test_trained_models_match_a_slow_count_over_the_patterns_of_the_bridge(ref: str):
    check_against_bridge(ref, vocab=200, period=6)


@pytest.mark.parametrize("name", ["qwen3", "gemma2", "olmo2", "phi", "gpt-neo", "falcon"])
def test_other_architectures_match_a_slow_count_over_the_patterns_of_the_bridge(
    name: str, tmp_path: Path
):
    directory = checkpoints.EVERY[name](tmp_path / name)
    check_against_bridge(f"dir:{directory}", vocab=checkpoints.VOCAB, period=4)


def check_against_bridge(ref: str, vocab: int, period: int) -> None:
    model = load_model(ref, device="cpu")
    drawn = sequences(vocab=vocab, period=period, n=2)
    found = random_token_scores(model.weights, drawn.tokens, period, memory=MEMORY)
    patterns: dict[int, torch.Tensor] = {}

    def keep(pattern: torch.Tensor, hook: Any) -> None:
        patterns[hook.layer()] = pattern

    hooks: list[Any] = [
        (f"blocks.{layer}.attn.hook_pattern", keep) for layer in range(len(model.bridge.blocks))
    ]
    with torch.no_grad():
        model.bridge.run_with_hooks(drawn.tokens, fwd_hooks=hooks)
    for layer, pattern in patterns.items():
        for row in range(2):
            for head in range(pattern.shape[1]):
                for name, value in plain_scores(pattern[row, head], period).items():
                    got = found.samples[name][row, layer, head]
                    # sums in float32 differ by its rounding
                    assert got == pytest.approx(value, abs=1e-4), (name, layer, head)


def test_scores_are_the_same_however_little_memory_there_is():
    weights = STREAM.weights([STREAM.offset(1, writes="copy")], [STREAM.matching("copy")])
    tokens = sequences(n=5).tokens
    whole = random_token_scores(weights, tokens, PERIOD, memory=MEMORY)
    one = random_token_scores(weights, tokens, PERIOD, memory=row_bytes(weights, LENGTH))
    for name, samples in whole.samples.items():
        np.testing.assert_allclose(one.samples[name], samples, rtol=1e-12, atol=1e-12)
    with pytest.raises(OutOfMemoryBudget):
        random_token_scores(weights, tokens, PERIOD, memory=1000)


def test_sequences_say_different_tokens_twice_and_shuffle_the_same_ones():
    drawn = sequences(n=4)
    for row, other in zip(drawn.tokens.tolist(), drawn.shuffled.tolist(), strict=True):
        assert row[0] == other[0] == 0
        assert row[1 : PERIOD + 1] == row[PERIOD + 1 :]
        assert len(set(row)) == PERIOD + 1
        assert sorted(row) == sorted(other) != row
    assert torch.equal(drawn.tokens, sequences(n=4).tokens)


def test_sequences_without_a_beginning_token_draw_one_more():
    drawn = draw_sequences(range(9), bos=None, period=4, n=6, seed=1)
    for row in drawn.tokens.tolist():
        assert len(set(row)) == 5
        assert row.count(row[0]) == 1


def test_longest_period_fits_context_and_vocabulary():
    long = Stream(vocab=12, positions=64)
    model = long.weights([long.uniform()])
    assert longest_period(model, range(100), 50) == 16
    assert longest_period(model, range(100), 8) == 8
    assert longest_period(model, range(9), 50) == 8
    short = Stream(vocab=12, positions=7)
    assert longest_period(short.weights([short.uniform()]), range(100), 50) is None
    assert longest_period(model, range(2), 50) is None
