"""A config.json, weights and tokenizer that do not belong together are refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models import describe_model, load_model
from tests import checkpoints

MAKE: dict[str, Callable[[Path], Path]] = {
    "gpt2": checkpoints.gpt2,
    "llama": checkpoints.llama,
    "native": checkpoints.native,
}


def with_fields(directory: Path, **fields: Any) -> Path:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return directory


def with_tensors(directory: Path, **changed: Tensor) -> Path:
    path = directory / "model.safetensors"
    save_file({**load_file(path), **changed}, path, metadata={"format": "pt"})
    return directory


def refusal(directory: Path) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        load_model(f"dir:{directory}", device="cpu")
    assert str(directory) in str(raised.value.where)
    return raised.value


def test_load_config_with_fewer_layers_than_the_weights_names_the_tensors_left_over(tmp_path: Path):
    error = refusal(with_fields(checkpoints.gpt2(tmp_path / "m", layers=3), n_layer=2))
    assert "transformer.h.2.attn.c_attn.weight" in error.problem
    assert error.fix


def test_load_masks_and_tables_that_old_versions_saved_are_no_tensors_left_over(tmp_path: Path):
    tables = {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8),
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
        "transformer.h.1.attn.rotary_emb.inv_freq": torch.ones(4),
    }
    load_model(f"dir:{with_tensors(checkpoints.gpt2(tmp_path / 'm'), **tables)}", device="cpu")


@pytest.mark.parametrize(
    ("kind", "fields", "tensor", "stored", "asked"),
    [
        ("gpt2", {"vocab_size": 7}, "transformer.wte.weight", "[23, 16]", "[7, 16]"),
        ("gpt2", {"n_embd": 8}, "transformer.h.0.attn.c_attn.bias", "[48]", "[24]"),
        (
            "llama",
            {"num_key_value_heads": 1},
            "model.layers.0.self_attn.k_proj.weight",
            "[8, 16]",
            "[4, 16]",
        ),
        ("native", {"d_vocab": 7}, "embed.W_E", "[23, 12]", "[7, 12]"),
    ],
)
def test_load_tensor_of_another_shape_is_named_with_both_shapes(
    tmp_path: Path, kind: str, fields: dict[str, int], tensor: str, stored: str, asked: str
):
    error = refusal(with_fields(MAKE[kind](tmp_path / "m"), **fields))
    assert error.field == tensor
    assert stored in error.problem
    assert asked in str(error.allowed)


@pytest.mark.parametrize(
    ("kind", "tensor"), [("gpt2", "transformer.h.1.mlp.c_fc.bias"), ("native", "embed.W_E")]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_load_tensor_that_holds_no_numbers_is_named(
    tmp_path: Path, kind: str, tensor: str, value: float
):
    directory = MAKE[kind](tmp_path / "m")
    broken = load_file(directory / "model.safetensors")[tensor]
    broken.view(-1)[3] = value
    error = refusal(with_tensors(directory, **{tensor: broken}))
    assert error.field == tensor
    assert error.problem.startswith("1 of ")


@pytest.mark.parametrize(
    ("kind", "field", "value", "allowed"),
    [
        ("gpt2", "n_head", "four", "from 1"),
        ("gpt2", "n_layer", -1, "from 1"),
        ("gpt2", "n_head", 0, "from 1"),
        ("native", "n_layers", 0, "from 1"),
        ("native", "n_heads", True, "from 1"),
        ("gpt2", "activation_function", "gelu_nwe", "gelu_new"),
        ("gpt2", "model_type", "llama", "gpt2"),
        ("native", "normalization_type", "Foo", "LN, RMS"),
    ],
)
def test_load_config_value_that_cannot_be_used_is_named_with_file_and_field(
    tmp_path: Path, kind: str, field: str, value: Any, allowed: str
):
    error = refusal(with_fields(MAKE[kind](tmp_path / "m"), **{field: value}))
    assert str(error.where).endswith("config.json")
    assert error.field == field
    assert repr(value) in error.problem
    assert allowed in str(error.allowed)


def test_load_native_config_with_an_unknown_key_suggests_the_nearest(tmp_path: Path):
    error = refusal(with_fields(checkpoints.native(tmp_path / "m"), normalisation_type="LN"))
    assert error.field == "normalisation_type"
    assert "did you mean 'normalization_type'?" in error.problem


@pytest.mark.parametrize("value", ["four", -1, 0])
def test_describe_size_that_is_none_is_named_with_file_and_field(tmp_path: Path, value: Any):
    directory = with_fields(checkpoints.gpt2(tmp_path / "m"), n_head=value)
    with pytest.raises(InvalidInput) as raised:
        describe_model(f"dir:{directory}")
    assert raised.value.where == str(directory / "config.json")
    assert raised.value.field == "n_head"
    assert repr(value) in raised.value.problem
    directory = with_fields(checkpoints.llama(tmp_path / "l"), num_key_value_heads=value)
    with pytest.raises(InvalidInput, match="is not a size") as raised:
        describe_model(f"dir:{directory}")
    assert raised.value.field == "num_key_value_heads"


def test_describe_more_layers_than_any_model_has_is_refused_at_once(tmp_path: Path):
    directory = with_fields(checkpoints.gpt2(tmp_path / "m"), n_layer=10**9)
    with pytest.raises(InvalidInput, match="1000000000 is not a size"):
        describe_model(f"dir:{directory}")


@pytest.mark.parametrize("text", ["{", "{}", "[]", "null", '{"added_tokens": []}'])
def test_load_tokenizer_that_is_none_is_named_by_its_file(tmp_path: Path, text: str):
    directory = checkpoints.gpt2(tmp_path / "m")
    (directory / "tokenizer.json").write_text(text)
    error = refusal(directory)
    assert str(error.where).endswith("tokenizer.json")
    assert "is not a tokenizer" in error.problem


def in_shards(directory: Path) -> list[str]:
    """Split the weights of a model into three files and an index, and return their names."""
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = [f"model-{part:05}-of-00003.safetensors" for part in (1, 2, 3)]
    index = {name: names[at % 3] for at, name in enumerate(sorted(tensors))}
    for file in names:
        part = {name: tensors[name].clone() for name in index if index[name] == file}
        save_file(part, directory / file, metadata={"format": "pt"})
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": index})
    (directory / "model.safetensors.index.json").write_text(text)
    return names


def test_load_without_a_shard_names_it_and_the_index(tmp_path: Path):
    directory = checkpoints.gpt2(tmp_path / "m")
    second = in_shards(directory)[1]
    load_model(f"dir:{directory}", device="cpu")
    (directory / second).unlink()
    error = refusal(directory)
    assert error.where == str(directory / "model.safetensors.index.json")
    assert error.problem == f"files of weights are missing: {second}; this index names them"
    assert "missing files" in str(error.fix)


def test_load_without_shard_and_index_names_the_shard(tmp_path: Path):
    directory = checkpoints.native(tmp_path / "m")
    second = in_shards(directory)[1]
    (directory / "model.safetensors.index.json").unlink()
    load_model(f"dir:{directory}", device="cpu")
    (directory / second).unlink()
    assert second in refusal(directory).problem


@pytest.mark.parametrize("text", ["[", "[]", "{}", '{"weight_map": {"a": 1}}'])
def test_load_of_an_index_that_cannot_be_read_is_refused(tmp_path: Path, text: str):
    directory = checkpoints.gpt2(tmp_path / "m")
    in_shards(directory)
    (directory / "model.safetensors.index.json").write_text(text)
    assert str(refusal(directory).where).endswith("index.json")


def test_load_activation_that_the_engine_lacks_says_what_shows_the_others(tmp_path: Path):
    error = refusal(with_fields(checkpoints.llama(tmp_path / "m"), hidden_act="tanh"))
    assert error.problem == "activation 'tanh' is not reproduced"
    assert "acdc models list" in str(error.fix)


def test_load_without_a_file_that_transformers_wants_is_not_blamed_on_the_config(tmp_path: Path):
    directory = checkpoints.gpt2(tmp_path / "m")
    (directory / "model.safetensors").rename(directory / "other.safetensors")
    assert "files are missing" in str(refusal(directory).fix)
