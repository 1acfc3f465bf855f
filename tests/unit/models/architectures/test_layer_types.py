"""Kinds of layers that a config.json does not list are those that transformers fills in."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.architectures import find_architecture
from acdc_pipeline.models.architectures.hybrid import LayersByType

WITH_HEADS = {"attention", "full_attention", "sliding_attention"}


@pytest.mark.parametrize(
    "name",
    [
        "Qwen3NextForCausalLM",
        "Qwen3_5ForCausalLM",
        "Qwen3_5MoeForCausalLM",
        "Lfm2ForCausalLM",
        "Lfm3ForCausalLM",
        "OlmoHybridForCausalLM",
        "KimiLinearForCausalLM",
        "BailingHybridForCausalLM",
        "JambaForCausalLM",
    ],
)
@pytest.mark.parametrize("n_layers", [12, 25])
def test_usual_layer_types_have_heads_where_transformers_puts_them(name: str, n_layers: int):
    config = getattr(transformers, name).config_class(num_hidden_layers=n_layers)
    kinds = getattr(config, "layer_types", None) or config.layers_block_type
    found = find_architecture(name)
    assert isinstance(found, LayersByType)
    parts = found.layer_parts({"num_hidden_layers": n_layers})
    assert ["a" in layer for layer in parts] == [kind in WITH_HEADS for kind in kinds]


@pytest.mark.parametrize("pattern", ["M-M*-ME", None])
def test_layers_of_nemotron_h_are_those_of_its_pattern(pattern: str | None):
    fields: dict[str, Any] = {} if pattern is None else {"hybrid_override_pattern": pattern}
    kinds = transformers.NemotronHConfig(**fields).layer_types
    letters = {"linear_attention": "r", "full_attention": "a", "mlp": "m", "moe": "m"}
    parts = find_architecture("NemotronHForCausalLM").layer_parts(fields)
    assert parts == tuple(letters[kind] for kind in kinds)


def test_layers_of_nemotron_h_with_an_unknown_letter_are_refused():
    with pytest.raises(InvalidInput, match="'X' is no kind of layer"):
        find_architecture("NemotronHForCausalLM").layer_parts({"hybrid_override_pattern": "MX"})
