"""GGUF files: the same model as the checkpoint they were made of, or one clear error."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from acdc_pipeline.engine import parity_error
from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models import describe_model, load_model, locate
from acdc_pipeline.models.take_fingerprint import take_fingerprint
from acdc_pipeline.specs import ModelRef
from tests import checkpoints
from tests.hugging_face_models import VOCAB

pytest.importorskip("gguf", reason="needs the extra gguf")

from tests.gguf_files import LETTERS, write_gguf

TOKENS = torch.randint(VOCAB, (3, 8), generator=torch.Generator().manual_seed(0))


def _qwen2(folder: Path) -> Path:
    """Qwen 2 without windows, which GGUF files of llama.cpp do not hold."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        hidden_size=16,
        intermediate_size=24,
        vocab_size=VOCAB,
        max_position_embeddings=12,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    )
    return checkpoints.randomised(Qwen2ForCausalLM(config), folder)


def _gpt2(folder: Path) -> Path:
    """GPT-2 with 1,024 positions: transformers reads no other number from GGUF files."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=VOCAB)
    return checkpoints.randomised(GPT2LMHeadModel(config), folder)


MAKERS = {
    "llama": lambda folder: checkpoints.llama(folder, kv_heads=2),
    "qwen2": _qwen2,
    "gpt2": _gpt2,
}


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return write_gguf(checkpoints.llama(tmp_path / "hf"), tmp_path / "llama.gguf")


def logits(folder: Path) -> torch.Tensor:
    """What transformers computes for the checkpoint in `folder`."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        return model.eval()(TOKENS).logits


def converted_models(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "models").iterdir() if path.is_dir())


@pytest.mark.parametrize("name", MAKERS)
def test_load_model_of_a_gguf_file_has_the_logits_of_its_checkpoint(name: str, tmp_path: Path):
    source = MAKERS[name](tmp_path / "hf")
    path = write_gguf(source, tmp_path / "model.gguf")
    model = load_model(f"gguf:{path}", device="cpu")
    # the weights are float32 on both sides; only the order of sums may differ
    torch.testing.assert_close(model.reference_logits(TOKENS), logits(source), rtol=0, atol=1e-5)
    assert parity_error(model, TOKENS, torch.full((3,), 8)) <= 1e-5


def test_load_model_of_a_quantised_gguf_file_has_its_dequantised_values(tmp_path: Path):
    config = LlamaConfig(
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        hidden_size=32,
        intermediate_size=64,
        vocab_size=VOCAB,
        max_position_embeddings=12,
    )
    source = checkpoints.randomised(LlamaForCausalLM(config), tmp_path / "hf")
    names = ("token_embd.weight", "blk.0.ffn_gate.weight")
    path = write_gguf(source, tmp_path / "q8.gguf", quantised=names)
    model = load_model(f"gguf:{path}", device="cpu")
    original: Any = AutoModelForCausalLM.from_pretrained(source)
    stored = original.get_input_embeddings().weight.detach()
    # Q8_0: a row of 32 shares a scale in 16 bits, its largest value is 127 of it
    scale = (stored.abs().amax(1, keepdim=True) / 127).half().float()
    steps = (stored / (stored.abs().amax(1, keepdim=True) / 127)).round()
    assert torch.equal(model.weights.w_e, steps * scale)
    assert not torch.equal(model.weights.w_e, stored)


def test_load_model_of_a_gguf_file_takes_its_tokenizer(llama: Path):
    tokenizer = load_model(f"gguf:{llama}", device="cpu").tokenizer
    assert tokenizer is not None
    ids = {letter: index + 2 for index, letter in enumerate(LETTERS)}
    assert tokenizer.encode("ab abq", add_special_tokens=False) == [
        ids["ab"],
        ids["Ġab"],
        ids["q"],
    ]
    assert tokenizer.bos_token_id == 1


def test_load_model_of_a_gguf_file_again_converts_nothing(
    llama: Path, cache: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "acdc_pipeline")
    first = load_model(f"gguf:{llama}", device="cpu")
    (folder,) = converted_models(cache)
    made = (folder / "model.safetensors").stat()
    assert [record.getMessage()[:21] for record in caplog.records] == ["converting llama.gguf"]
    again = load_model(f"gguf:{llama}", device="cpu")
    assert len(caplog.records) == 1
    assert (folder / "model.safetensors").stat().st_ino == made.st_ino
    assert again.revision == first.revision
    assert torch.equal(again.weights.w_e, first.weights.w_e)


def test_converted_gguf_folder_is_a_model_that_dir_accepts(llama: Path, cache: Path):
    located = locate(ModelRef.parse(f"gguf:{llama}"))
    assert located.directory.parent == cache / "models"
    shape = describe_model(f"dir:{located.directory}")
    assert shape.topology == describe_model(f"gguf:{llama}").topology
    assert "quantization_config" not in (located.directory / "config.json").read_text()


def test_gguf_revision_follows_the_content_of_the_file_and_not_its_name(
    llama: Path, tmp_path: Path
):
    def revision(path: Path) -> str:
        return locate(ModelRef.parse(f"gguf:{path}")).revision

    moved = tmp_path / "moved.gguf"
    moved.write_bytes(llama.read_bytes())
    other = write_gguf(checkpoints.llama(tmp_path / "hf2", seed=1), tmp_path / "other.gguf")
    assert revision(moved) == revision(llama) != revision(other)
    before = take_fingerprint(f"gguf:{llama}")
    llama.write_bytes(other.read_bytes())
    after = take_fingerprint(f"gguf:{llama}")
    assert after.revision == revision(other)
    assert after.tensors.keys() == before.tensors.keys()
    assert after.tensors != before.tensors
    assert after.tokenizer == before.tokenizer


@pytest.mark.parametrize("damage", ["cut", "changed", "manifest", "missing"])
def test_damaged_conversion_is_made_again(damage: str, llama: Path, cache: Path):
    first = load_model(f"gguf:{llama}", device="cpu")
    (folder,) = converted_models(cache)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    if damage == "cut":
        weights.write_bytes(content[:1000])
    elif damage == "changed":
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "manifest":
        (folder / "converted.json").write_text("{")
    else:
        (folder / "config.json").unlink()
    again = load_model(f"gguf:{llama}", device="cpu")
    assert weights.read_bytes() == content
    assert again.revision == first.revision
    assert converted_models(cache) == [folder]


def test_conversion_that_was_copied_elsewhere_is_used_as_it_is(
    llama: Path, cache: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "acdc_pipeline")
    load_model(f"gguf:{llama}", device="cpu")
    (folder,) = converted_models(cache)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes())  # the same content at another time
    load_model(f"gguf:{llama}", device="cpu")
    assert len(caplog.records) == 1


def test_load_model_of_a_file_that_is_no_gguf_says_so(tmp_path: Path):
    path = tmp_path / "weights.gguf"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(InvalidInput, match="is not a GGUF file") as caught:
        load_model(f"gguf:{path}")
    assert caught.value.where == str(path)


@pytest.mark.parametrize("kept", [6, 40, 700, 0.5, 0.999])
def test_load_model_of_a_truncated_gguf_file_says_so(llama: Path, kept: float, cache: Path):
    content = llama.read_bytes()
    llama.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(InvalidInput, match="cannot be read to its end") as caught:
        load_model(f"gguf:{llama}")
    assert caught.value.where == str(llama)
    assert "download it again" in str(caught.value.fix)
    assert converted_models(cache) == []


def test_load_model_of_a_gguf_file_of_an_unknown_architecture_names_it(tmp_path: Path):
    source = checkpoints.llama(tmp_path / "hf")
    path = write_gguf(source, tmp_path / "rwkv.gguf", architecture="rwkv6")
    with pytest.raises(UnsupportedModel, match="'rwkv6'") as caught:
        load_model(f"gguf:{path}")
    assert "llama" in str(caught.value.allowed)
    assert "hf:ORG/NAME" in str(caught.value.fix)


def test_load_model_of_a_gguf_file_with_rescaled_positions_is_refused(tmp_path: Path):
    source = checkpoints.llama(tmp_path / "hf")
    path = write_gguf(source, tmp_path / "a.gguf", fields={"llama.rope.scaling.type": "yarn"})
    with pytest.raises(UnsupportedModel, match=r"rescaled \(yarn\)"):
        load_model(f"gguf:{path}")
    # Llama 3.1 states the same by a tensor
    frequencies = {"rope_freqs.weight": np.ones(2, np.float32)}
    path = write_gguf(source, tmp_path / "b.gguf", extra=frequencies)
    with pytest.raises(UnsupportedModel, match=r"leaves out .*: rope_freqs\.weight"):
        load_model(f"gguf:{path}")


def test_load_model_of_a_part_of_a_gguf_model_says_how_to_merge(tmp_path: Path):
    source = checkpoints.llama(tmp_path / "hf")
    path = write_gguf(source, tmp_path / "part.gguf", fields={"split.count": 3})
    with pytest.raises(InvalidInput, match="one of 3 parts") as caught:
        load_model(f"gguf:{path}")
    assert "--merge" in str(caught.value.fix)


def test_load_model_of_a_gguf_file_without_the_package_says_how_to_install_it(
    llama: Path, without_package
):
    without_package("gguf")
    with pytest.raises(InvalidInput, match="package gguf, which is not installed") as caught:
        load_model(f"gguf:{llama}")
    assert caught.value.fix == "pip install 'acdc-pipeline[gguf]'"


def test_load_model_of_a_folder_named_as_gguf_names_the_files_in_it(llama: Path):
    with pytest.raises(InvalidInput, match="is a folder") as caught:
        load_model(f"gguf:{llama.parent}")
    assert caught.value.fix == f"gguf:{llama}"
    with pytest.raises(InvalidInput, match="no such file"):
        load_model(f"gguf:{llama.parent / 'none.gguf'}")


def test_load_model_of_a_gguf_file_named_as_dir_suggests_gguf(llama: Path, tmp_path: Path):
    with pytest.raises(InvalidInput) as caught:
        load_model(f"dir:{llama}")
    assert caught.value.fix == f"did you mean 'gguf:{llama}'?"
    folder = tmp_path / "only-gguf"
    folder.mkdir()
    (folder / "a.gguf").write_bytes(llama.read_bytes())
    with pytest.raises(InvalidInput, match=r"no config\.json") as caught:
        load_model(f"dir:{folder}")
    assert caught.value.fix == f"did you mean 'gguf:{folder / 'a.gguf'}'?"


def test_cache_that_cannot_be_written_is_named(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InvalidInput, match="cache of converted models") as caught:
        load_model(f"gguf:{llama}")
    assert "ACDC_CACHE" in str(caught.value.fix)
