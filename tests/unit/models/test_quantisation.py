"""Quantised checkpoints: unpacked where transformers can, refused by name elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from acdc_pipeline.engine import parity_error
from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models import describe_model, load_model, locate
from acdc_pipeline.models.config import require_dequantisable, unpacking_settings
from acdc_pipeline.specs import ModelRef
from tests import checkpoints
from tests.command_line import acdc
from tests.hugging_face_models import VOCAB

BLOCK = 8


def quantised(folder: Path, settings: dict[str, Any]) -> Path:
    """A Llama whose config.json says that its weights are quantised so."""
    checkpoints.llama(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    return folder


def fp8(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A Llama in DeepSeek's format, a scale for each block of 8 by 8, and its dequantised values.

    The scale of a block makes its largest value the largest of float8_e4m3fn, 448.
    """
    settings = {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [BLOCK, BLOCK],
    }
    quantised(folder, settings)
    stored, plain = {}, {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            stored[name] = plain[name] = tensor
            continue
        rows, columns = tensor.shape
        blocks = tensor.reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
        scale = blocks.abs().amax((1, 3), keepdim=True) / 448
        packed = (blocks / scale).to(torch.float8_e4m3fn)
        stored[name] = packed.reshape(rows, columns)
        stored[f"{name}_scale_inv"] = scale[:, 0, :, 0].contiguous()
        plain[name] = (packed.float() * scale).reshape(rows, columns)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return folder, plain


def test_load_model_of_an_fp8_checkpoint_has_its_dequantised_weights(tmp_path: Path):
    folder, plain = fp8(tmp_path / "fp8")
    model = load_model(f"dir:{folder}", device="cpu")
    attention = model.weights.blocks[0].attention
    expected = plain["model.layers.0.self_attn.q_proj.weight"]  # [head * d_head, d_model]
    assert torch.equal(attention.w_q.transpose(1, 2).reshape(expected.shape), expected)
    tokens = torch.randint(VOCAB, (3, 8), generator=torch.Generator().manual_seed(0))
    assert parity_error(model, tokens, torch.full((3,), 8)) <= 1e-5


def test_settings_of_quantisation_are_found_under_their_older_name():
    config = {"compression_config": {"quant_method": "fp8", "bits": 8}}
    assert unpacking_settings(config) == {"quant_method": "fp8", "bits": 8, "dequantize": True}
    config = {"compression_config": {"quant_method": "gptq", "bits": 4}}
    with pytest.raises(UnsupportedModel, match=r"GPTQ \(4 bits\)"):
        require_dequantisable(config, "here")


@pytest.mark.parametrize(
    ("settings", "described"),
    [
        ({"quant_method": "gptq", "bits": 4}, "GPTQ (4 bits)"),
        ({"quant_method": "awq", "bits": 4}, "AWQ (4 bits)"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "brand-new"}, "brand-new"),
    ],
)
def test_load_model_of_another_quantisation_names_it_and_what_to_take(
    settings: dict[str, Any], described: str, tmp_path: Path
):
    folder = quantised(tmp_path / "model", settings)
    # refused before the weights are looked at
    (folder / "model.safetensors").unlink()
    for call in (load_model, describe_model, lambda ref: locate(ModelRef.parse(ref))):
        with pytest.raises(UnsupportedModel) as caught:
            call(f"dir:{folder}")
        assert f"quantised with {described}" in caught.value.problem
        assert "unquantised repository" in str(caught.value.fix)
        assert "gguf:FILE" in str(caught.value.fix)


@pytest.mark.parametrize("settings", [{"quant_method": "bitsandbytes"}, {"load_in_4bit": True}])
def test_load_model_of_a_bitsandbytes_checkpoint_without_the_package_says_how_to_install_it(
    settings: dict[str, Any], tmp_path: Path, without_package
):
    without_package("bitsandbytes")
    folder = quantised(tmp_path / "model", settings)
    with pytest.raises(UnsupportedModel, match="bitsandbytes") as caught:
        load_model(f"dir:{folder}")
    assert str(caught.value.fix).startswith("pip install bitsandbytes")


@pytest.mark.parametrize("bits", [4, 8])
def test_load_model_of_a_bitsandbytes_checkpoint_has_its_dequantised_weights(
    bits: int, tmp_path: Path
):
    functional = pytest.importorskip("bitsandbytes.functional", reason="needs bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    source = checkpoints.llama(tmp_path / "plain")
    settings = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8)
    packed = AutoModelForCausalLM.from_pretrained(
        source, quantization_config=settings, dtype=torch.float32
    )
    folder = tmp_path / "packed"
    packed.save_pretrained(folder)
    layer = packed.model.layers[0].self_attn.q_proj.weight
    if bits == 4:
        expected = functional.dequantize_4bit(layer.data, layer.quant_state)
    else:
        state = packed.model.layers[0].self_attn.q_proj.state
        scale = state.SCB if state.SCB is not None else layer.SCB
        expected = layer.data.float() * scale[:, None] / 127  # one scale for each row of int8
    model = load_model(f"dir:{folder}", device="cpu")
    found = model.weights.blocks[0].attention.w_q.transpose(1, 2).reshape(expected.shape)
    torch.testing.assert_close(found, expected.float(), rtol=1e-6, atol=1e-7)
    tokens = torch.randint(VOCAB, (3, 8), generator=torch.Generator().manual_seed(0))
    assert parity_error(model, tokens, torch.full((3,), 8)) <= 1e-5


@pytest.mark.parametrize("command", [("models", "show"), ("models", "check"), ("discover", "ioi")])
def test_commands_refuse_a_quantised_model_by_name(
    capsys, tmp_path: Path, command: tuple[str, str]
):
    folder = quantised(tmp_path / "model", {"quant_method": "gptq", "bits": 4})
    acdc(capsys, *command, f"dir:{folder}").refuses("GPTQ (4 bits)", "unquantised repository")
