"""Models in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acdc_pipeline.models.describe import list_features
from tests import tiny_models
from tests.attention_models import build


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt2", ("LayerNorms", "learned positions", "gelu tanh MLPs")),
        ("native-no-norm", ("no norms", "learned positions", "no MLPs")),
        (
            "gptj",
            (
                "LayerNorms",
                "attention and MLP side by side",
                "rotary positions on 4 of 8 dimensions",
                "gelu tanh MLPs",
            ),
        ),
        (
            "olmo2",
            (
                "RMS norms after attention and MLP",
                "rotary positions on 8 of 8 dimensions",
                "2 query heads on 1 key/value heads",
                "queries and keys normalised across the heads of a layer",
                "gated silu MLPs",
            ),
        ),
        (
            "gemma2",
            (
                "RMS norms",
                "RMS norms after attention and MLP",
                "logits capped at 2",
                "rotary positions on 8 of 8 dimensions",
                "2 query heads on 1 key/value heads",
                "scores capped at 1",
                "windows of 3 tokens in 1 of 2 layers",
                "gated gelu tanh MLPs",
            ),
        ),
    ],
)
def test_features_name_what_each_model_consists_of(name: str, expected: tuple[str, ...]):
    assert list_features(tiny_models.loaded(name).weights) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("sinks", {"attention sinks", "windows of 3 tokens in 2 of 2 layers"}),
        (
            "latents",
            {
                "keys and values from latents of 5 dimensions",
                "queries from latents of 3 dimensions",
                "values of 3 dimensions for keys of 6",
            },
        ),
        ("gate", {"a gate on every dimension of the values", "values normalised"}),
        ("alibi", {"ALiBi position biases", "queries, keys and values clipped at 0.6"}),
        (
            "difference",
            {
                "heads that subtract one attention pattern from another",
                "rotary positions on 2 of 2 dimensions",
            },
        ),
        (
            "chunks",
            {
                "a gate on every head",
                "chunks of 3 tokens",
                "queries and keys normalised head by head after rotation",
                "queries scaled by position",
            },
        ),
    ],
)
def test_features_name_the_kind_of_attention(kind: str, expected: set[str]):
    assert expected <= set(list_features(build(kind)))


def test_features_of_some_layers_give_their_number():
    weights = build("sinks")
    first, second = weights.blocks
    assert second.attn is not None
    plain = replace(second, attn=replace(second.attn, sinks=None))
    found = list_features(replace(weights, blocks=(first, plain)))
    assert "attention sinks in 1 of 2 layers" in found
