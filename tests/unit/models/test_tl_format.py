from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models import tl_format
from benchmarks.zoo.attention_only import is_tl_directory, read_tl_directory

CONFIG = {
    "n_layers": 1,
    "d_model": 4,
    "d_head": 3,
    "n_heads": 2,
    "n_ctx": 5,
    "d_vocab": 3,
    "d_mlp": 6,
    "attn_only": False,
    "normalization_type": "LNPre",
    "positional_embedding_type": "standard",
}


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    model = WordLevel({"a": 0, "b": 1, "<unk>": 2}, unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), unk_token="<unk>")


def random_tensors(config: dict[str, object]) -> dict[str, torch.Tensor]:
    return {name: torch.randn(shape) for name, shape in tl_format.expected_shapes(config).items()}


def test_expected_shapes_attention_only_has_no_mlp_and_no_parameter_free_norm():
    shapes = tl_format.expected_shapes({**CONFIG, "attn_only": True})
    assert shapes == {
        "embed.W_E": (3, 4),
        "pos_embed.W_pos": (5, 4),
        "blocks.0.attn.W_Q": (2, 4, 3),
        "blocks.0.attn.W_K": (2, 4, 3),
        "blocks.0.attn.W_V": (2, 4, 3),
        "blocks.0.attn.b_Q": (2, 3),
        "blocks.0.attn.b_K": (2, 3),
        "blocks.0.attn.b_V": (2, 3),
        "blocks.0.attn.W_O": (2, 3, 4),
        "blocks.0.attn.b_O": (4,),
        "unembed.W_U": (4, 3),
        "unembed.b_U": (3,),
    }


def test_save_tl_directory_round_trip_keeps_config_tensors_and_tokenizer(tmp_path: Path):
    tensors = random_tensors(CONFIG)
    tl_format.save_tl_directory(tmp_path / "m", CONFIG, tensors, tiny_tokenizer())
    config, loaded = read_tl_directory(tmp_path / "m")
    assert config == {"architecture": "TransformerLensNative", **CONFIG}
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert is_tl_directory(tmp_path / "m")
    assert AutoTokenizer.from_pretrained(tmp_path / "m").get_vocab() == {"a": 0, "b": 1, "<unk>": 2}


def test_save_tl_directory_missing_tensor_writes_nothing(tmp_path: Path):
    tensors = random_tensors(CONFIG)
    del tensors["blocks.0.attn.W_O"]
    with pytest.raises(InvalidInput, match=r"missing blocks\.0\.attn\.W_O"):
        tl_format.save_tl_directory(tmp_path / "m", CONFIG, tensors, tiny_tokenizer())
    assert not (tmp_path / "m").exists()


def test_check_tensors_wrong_shape_names_the_tensor():
    tensors = random_tensors(CONFIG) | {"embed.W_E": torch.zeros(4, 3)}
    with pytest.raises(InvalidInput, match=r"embed\.W_E: has the shape \[4, 3\]"):
        tl_format.check_tensors(CONFIG, tensors, "m")


def test_expected_shapes_rotary_positions_have_no_table():
    shapes = tl_format.expected_shapes({**CONFIG, "positional_embedding_type": "rotary"})
    assert set(tl_format.expected_shapes(CONFIG)) - set(shapes) == {"pos_embed.W_pos"}


def test_expected_shapes_unknown_positions_are_refused():
    with pytest.raises(UnsupportedModel, match="alibi"):
        tl_format.expected_shapes({**CONFIG, "positional_embedding_type": "alibi"})


def test_read_tl_directory_without_weights_says_what_is_expected(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(InvalidInput, match=r"config\.json and model\.safetensors"):
        read_tl_directory(tmp_path)


def test_is_tl_directory_hugging_face_config_is_not_one(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 1}))
    assert not is_tl_directory(tmp_path)


def test_tl_directory_loads_into_the_bridge_with_our_names(tmp_path: Path):
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources.native import boot
    from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

    tl_format.save_tl_directory(tmp_path, CONFIG, random_tensors(CONFIG), tiny_tokenizer())
    fields, tensors = read_tl_directory(tmp_path)
    config = TransformerBridgeConfig.from_dict(fields)
    bridge: Any = boot(config)
    bridge.load_state_dict(convert_tl_checkpoint(tensors, config), strict=True)
    assert torch.equal(bridge.blocks[0].attn.W_Q, tensors["blocks.0.attn.W_Q"])
    assert torch.equal(bridge.W_E, tensors["embed.W_E"])
