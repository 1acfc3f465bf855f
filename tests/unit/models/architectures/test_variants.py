"""Settings of config.json that change what the weights of a class are read from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from acdc_pipeline.engine.forward import check_tokens, run_sources, unembed
from acdc_pipeline.errors import PromptError
from acdc_pipeline.models import describe_model, load_model
from acdc_pipeline.models.architectures import find_architecture
from acdc_pipeline.models.memory.hold import hold_model
from tests.every_class import EVERY_CLASS, TinyModel

(ALIBI,) = (tiny for tiny in EVERY_CLASS if tiny.fields.get("alibi"))
INDEXED = [tiny for tiny in EVERY_CLASS if {"index_topk", "index_topk_blocks"} & set(tiny.fields)]
TOKENS = torch.tensor([[1, 5, 2, 7, 3], [4, 4, 9, 0, 6]])


@pytest.mark.parametrize("tiny", INDEXED, ids=lambda tiny: tiny.name)
def test_prompts_that_an_indexer_would_shorten_are_refused(tiny: TinyModel, tmp_path: Path):
    directory = tiny.save(tmp_path / "model")
    weights = load_model(f"dir:{directory}", device="cpu").weights
    fields = tiny.fields
    kept = fields.get("index_topk") or fields["index_topk_blocks"] * fields["index_block_size"]
    check_tokens(weights, torch.zeros(1, kept, dtype=torch.long))
    with pytest.raises(PromptError, match=f"{kept + 1} tokens do not fit the model's {kept} pos"):
        check_tokens(weights, torch.zeros(1, kept + 1, dtype=torch.long))


def test_alibi_of_falcon_is_added_once_as_in_its_default_attention(tmp_path: Path):
    directory = ALIBI.save(tmp_path / "model")
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    with torch.no_grad():
        once = ALIBI.load(directory)(TOKENS).logits
        twice = replace(ALIBI, attention="eager").load(directory)(TOKENS).logits
    ours = unembed(model.weights, run_sources(model.weights, TOKENS).final)
    assert (ours - once).abs().max() < 1e-12
    assert (ours - twice).abs().max() > 1e-3


def test_alibi_of_falcon_in_memory_is_that_of_its_files(tmp_path: Path):
    directory = ALIBI.save(tmp_path / "model")
    held = hold_model(ALIBI.load(directory), None).load("float64", "cpu")
    loaded = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    assert torch.equal(held.reference_logits(TOKENS), loaded.reference_logits(TOKENS))
    ours, theirs = (m.weights.blocks[1].attention.alibi for m in (held, loaded))
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("config", "kv_heads", "parallel"),
    [
        ({}, 1, True),
        ({"multi_query": False, "parallel_attn": False}, 71, False),
        ({"new_decoder_architecture": True, "num_kv_heads": 8}, 8, True),
        ({"new_decoder_architecture": True, "num_kv_heads": 8, "parallel_attn": False}, 8, True),
    ],
)
def test_shape_of_falcon_follows_from_its_config(config, kv_heads: int, parallel: bool):
    found = find_architecture("FalconForCausalLM", config)
    assert found.count_kv_heads(config, 71) == kv_heads
    assert found.is_parallel(config) is parallel


def test_describe_model_projected_embeddings_are_no_other_shape(tmp_path: Path):
    tiny = next(tiny for tiny in EVERY_CLASS if "word_embed_proj_dim" in tiny.fields)
    directory = tiny.save(tmp_path / "model")
    described, weights = describe_model(f"dir:{directory}"), load_model(f"dir:{directory}").weights
    assert described.refused is None
    assert described.d_model == weights.d_model == 16
    assert weights.w_e.shape == (23, 16)
    assert weights.w_u.shape == (16, 23)
