"""Hugging Face folders with pickled weights: refused with the command that converts them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models import load_model
from tests.command_line import acdc
from tests.hugging_face_models import MODELS
from tests.tokenizers import word_tokenizer


def pickled(folder: Path) -> torch.nn.Module:
    """A tiny Llama as transformers saved it before safetensors."""
    torch.manual_seed(0)
    model = MODELS["llama-biased"].build(1).eval()
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    word_tokenizer(f"word{i}" for i in range(12)).save_pretrained(folder)
    return model


def test_pickled_folder_is_refused_with_the_command_that_converts_it(tmp_path: Path, capsys):
    folder = tmp_path / "my model"
    model = pickled(folder)
    with pytest.raises(InvalidInput) as refused:
        load_model(f"dir:{folder}")
    command = str(refused.value.fix).partition(", which")[0]
    program, *arguments = shlex.split(command)
    assert program == "acdc"
    done = acdc(capsys, *arguments, "--json")
    assert done.code == 0, done.err
    assert done.document["layout"] is None
    made = tmp_path / "my model-safetensors"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (made / name).read_bytes() == (folder / name).read_bytes()
    loaded = load_model(f"dir:{made}", dtype="float32", device="cpu")
    tokens = torch.arange(10)[None]
    with torch.no_grad():
        expected = model(tokens).logits
    torch.testing.assert_close(loaded.reference_logits(tokens), expected, rtol=0, atol=1e-5)


def test_pickled_folder_with_a_missing_tensor_writes_nothing(tmp_path: Path, capsys):
    model = pickled(tmp_path / "m")
    state = model.state_dict()
    del state["model.norm.weight"]
    torch.save(state, tmp_path / "m" / "pytorch_model.bin")
    acdc(capsys, "models", "convert", tmp_path / "m", tmp_path / "out").refuses(
        "model.norm.weight", "tensors missing"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_pickled_folder_takes_no_options(tmp_path: Path, capsys):
    pickled(tmp_path / "m")
    acdc(capsys, "models", "convert", tmp_path / "m", tmp_path / "out", "--act-fn", "relu").refuses(
        "config.json of a folder"
    )
