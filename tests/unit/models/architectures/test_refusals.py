"""What a config.json says about a model, before any weight is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models import describe_model, load_model
from acdc_pipeline.models.architectures import ALIASES, SUPPORTED, find_refusal
from acdc_pipeline.models.architectures.refused import REFUSED
from acdc_pipeline.models.directory import NATIVE
from tests import checkpoints, tiny_models
from tests.every_class import EVERY_CLASS


@pytest.mark.parametrize("name", checkpoints.EVERY)
def test_describe_model_sizes_from_config_alone_are_those_of_the_weights(name: str):
    described, weights = (
        describe_model(f"dir:{tiny_models.folder(name)}"),
        tiny_models.loaded(name).weights,
    )
    assert described.refused is None
    assert described.n_heads == weights.blocks[0].attention.w_q.shape[0]
    assert described.n_kv_heads == weights.blocks[0].attention.w_k.shape[0]
    assert described.d_model == weights.d_model
    assert described.vocab == weights.w_e.shape[0]


def test_load_model_every_refused_architecture_is_named_with_its_reason(tmp_path: Path):
    (tmp_path / "model.safetensors").touch()
    for architecture in sorted(REFUSED.keys() - SUPPORTED.keys() - ALIASES.keys()):
        (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
        with pytest.raises(UnsupportedModel) as raised:
            load_model(f"dir:{tmp_path}", device="cpu")
        assert f"'{architecture}'" in str(raised.value)
        assert REFUSED[architecture] in str(raised.value)


@pytest.mark.parametrize(
    ("architecture", "config", "words"),
    [
        ("OPTForCausalLM", {"do_layer_norm_before": False}, "no sum of outputs"),
        ("OPTForCausalLM", {"_remove_final_layer_norm": True}, "final norm"),
        ("GPTJForCausalLM", {"rotary_dim": None}, "rotary"),
        ("GPT2LMHeadModel", {"add_cross_attention": True}, "second residual stream"),
        (
            "HyperCLOVAXForCausalLM",
            {"attention_bias": True},
            "would scale a bias that belongs to no head",
        ),
        ("OlmoForCausalLM", {"clip_qkv": 8.0}, "clipped"),
        ("DiffLlamaForCausalLM", {"attention_dropout": 0.1}, "no dropout"),
        ("LlamaForCausalLM", {"clip_qkv": 8.0}, "clipped"),
        (NATIVE, {"clip_qkv": 8.0}, "clipped"),
        ("GPT2LMHeadModel", {"clip_qkv": 8.0}, "clipped"),
        ("Gemma2ForCausalLM", {"attention_bias": True}, "belongs to no head"),
        ("Gemma3ForCausalLM", {"use_bidirectional_attention": True}, "both sides"),
        ("Gemma4UnifiedForCausalLM", {"num_kv_shared_layers": 2}, "keys of other layers"),
        (
            "LagunaForCausalLM",
            {"num_attention_heads": 4, "num_attention_heads_per_layer": [4, 8]},
            "different numbers of heads",
        ),
        ("PhimoeForCausalLM", {"rope_scaling": {"type": "yarn"}}, "length of a prompt"),
    ],
)
def test_find_refusal_values_that_change_a_supported_architecture_are_named(
    architecture: str, config: dict[str, Any], words: str
):
    assert words in (find_refusal(architecture, config) or "")
    assert find_refusal(architecture, {}) is None


@pytest.mark.parametrize("config", [{}, {"hidden_size_per_layer_input": 256}])
def test_find_refusal_embeddings_of_each_layer_are_named_where_they_are_the_default(
    config: dict[str, Any],
):
    assert "embeddings of its own" in (find_refusal("Gemma4ForCausalLM", config) or "")
    assert find_refusal("Gemma4ForCausalLM", {"hidden_size_per_layer_input": 0}) is None


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_load_model_under_another_name_of_its_class_is_the_same(alias: str, tmp_path: Path):
    (tiny,) = (tiny for tiny in EVERY_CLASS if tiny.name == ALIASES[alias])
    directory = tiny.save(tmp_path / "model")
    expected = load_model(f"dir:{directory}", device="cpu").weights
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "architectures": [alias]}))
    assert describe_model(f"dir:{directory}").family == SUPPORTED[ALIASES[alias]]
    weights = load_model(f"dir:{directory}", device="cpu").weights
    assert torch.equal(weights.blocks[1].attention.w_q, expected.blocks[1].attention.w_q)
    assert torch.equal(weights.w_u, expected.w_u)


def test_aliases_name_supported_classes_and_are_none_themselves():
    assert set(ALIASES.values()) <= SUPPORTED.keys()
    assert not ALIASES.keys() & SUPPORTED.keys()


def test_find_refusal_no_architecture_is_both_supported_and_refused():
    assert not SUPPORTED.keys() & REFUSED.keys()


@pytest.mark.parametrize("field", ["num_attention_heads", "num_key_value_heads"])
def test_describe_model_heads_that_are_no_pairs_are_refused(field: str, tmp_path: Path):
    tiny = next(tiny for tiny in EVERY_CLASS if tiny.name == "DiffLlamaForCausalLM")
    config = {"architectures": [tiny.name], "model_type": "diffllama", **tiny.fields, field: 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InvalidInput, match="3 heads are no pairs") as raised:
        describe_model(f"dir:{tmp_path}")
    assert raised.value.field == field


def test_config_that_names_no_class_is_refused_for_that_and_not_for_its_model_type():
    for config in ({"model_type": "gpt2"}, {"model_type": "gpt2", "architectures": []}):
        reason = find_refusal("gpt2", config) or ""
        assert "has no 'architectures'" in reason
        assert "GPT2LMHeadModel" in reason
    assert find_refusal("Nobodys", {"architectures": ["Nobodys"]}) == (
        "the engine does not reproduce it"
    )
