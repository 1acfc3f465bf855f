"""What a checkpoint does not tell is asked for, and what is not understood is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from acdc_pipeline.errors import InvalidInput, UnknownName, UnsupportedModel
from acdc_pipeline.workflows.model_conversion import convert_model
from tests.checkpoint_layouts import Grokking, Hooked, NanoGpt, randomize, rotary_tables


def state(module: Any) -> dict[str, Any]:
    return {n.removeprefix("m."): t for n, t in randomize(module).state_dict().items()}


def refusal(tmp_path: Path, content: Any, **arguments: Any) -> str:
    """The message with which the conversion is refused; nothing is written."""
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(InvalidInput) as caught:
        convert_model(tmp_path / "model.pth", tmp_path / "out", **{"options": {}, **arguments})
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []
    return str(caught.value)


def test_convert_unknown_tensor_is_named(tmp_path: Path):
    content = {**state(Grokking()), "probe.weight": torch.ones(2)}
    assert "probe.weight" in refusal(tmp_path, content, options={"act_fn": "relu"})
    convert_model(
        tmp_path / "model.pth", tmp_path / "o", options={"act_fn": "relu"}, drop=["probe.*"]
    )


def test_convert_foreign_names_list_the_layouts(tmp_path: Path):
    message = refusal(tmp_path, {"encoder.w": torch.ones(2, 2)})
    assert "encoder.w" in message
    assert "nanogpt (nanoGPT" in message


@pytest.mark.parametrize(
    ("module", "options", "part"),
    [
        (NanoGpt(heads=2), {"act_fn": "gelu"}, "--n-heads"),
        (NanoGpt(heads=2), {"n_heads": 2}, "gelu in nanoGPT since 2023"),
        (Grokking(), {}, "--act-fn"),
        (Hooked(norm=None, attn_only=True), {}, "--normalization none"),
        (Hooked(rotary=4, attn_only=True), {}, "--positions none"),
        (NanoGpt(heads=2), {"n_heads": 3, "act_fn": "gelu"}, "8 is not a multiple of 3 heads"),
        (NanoGpt(heads=2), {"n_heads": 3, "act_fn": "gelu"}, "that divides 8: 1, 2, 4, 8"),
        (Grokking(), {"act_fn": "tanh"}, "gelu, gelu_new, relu, silu"),
        (Grokking(), {"act_fn": "relu", "n_heads": 4}, "contradicts the tensors, which have 2"),
    ],
)
def test_convert_missing_or_wrong_setting_is_named(module, options, part, tmp_path: Path):
    assert part in refusal(tmp_path, state(module), options=options)


@pytest.mark.parametrize("layer", [0, 1])
def test_convert_matrix_with_exchanged_dimensions_names_the_right_shape(layer, tmp_path: Path):
    content = state(Hooked(attn_only=True))  # 2 heads that are 6 wide, of a model that is 8 wide
    name = f"blocks.{layer}.attn.W_Q"
    content[name] = content[name].transpose(-1, -2)
    message = refusal(tmp_path, content, layout="transformer-lens")
    assert f"{name}: has the shape [2, 6, 8]" in message
    assert "allowed: [2, 8, 6]" in message
    assert "transpose(-1, -2)" in message


def test_convert_square_matrices_of_two_layouts_need_the_layout(tmp_path: Path):
    # one head as wide as the model, as many tokens and positions as dimensions
    square = {f"blocks.0.attn.W_{s}": torch.randn(1, 4, 4) for s in "QKVO"}
    content = {
        "embed.W_E": torch.randn(4, 4),
        "pos_embed.W_pos": torch.randn(4, 4),
        "unembed.W_U": torch.randn(4, 4),
        **square,
    }
    options = {"normalization_type": None}
    message = refusal(tmp_path, content, options=options)
    assert "transformer-lens, easy-transformer" in message
    assert "--layout" in message
    convert_model(
        tmp_path / "model.pth", tmp_path / "o", options=options, layout="easy-transformer"
    )


def test_convert_truncated_layer_is_refused(tmp_path: Path):
    content = state(Hooked(attn_only=True))
    del content["blocks.1.attn.b_Q"], content["blocks.1.attn.W_O"]
    message = refusal(tmp_path, content)
    assert "blocks.1.attn.W_O" in message
    assert "blocks.1.attn.b_Q" in message


def test_convert_mask_that_is_not_causal_is_refused(tmp_path: Path):
    content = state(Hooked(attn_only=True))
    content["blocks.1.attn.mask"] = content["blocks.1.attn.mask"].triu(-2)  # a window of three
    assert "blocks.1.attn.mask: is not the causal mask" in refusal(tmp_path, content)


@pytest.mark.parametrize(
    ("stored", "settings"),
    [
        ({"base": 500.0}, {}),
        ({"adjacent": True}, {}),
        ({}, {"rotary_base": 500}),
        ({}, {"rotary_adjacent_pairs": True}),
        ({}, {"rotary_dim": 2}),
    ],
)
def test_convert_rotary_tables_of_another_base_or_order_are_refused(
    stored, settings, tmp_path: Path
):
    content = state(Hooked(rotary=4, attn_only=True)) | rotary_tables(2, 14, 4, **stored)
    message = refusal(tmp_path, content, options=settings)
    assert "rotary_base" in message
    assert "blocks.0.attn.rotary_sin is not the table of base" in message


def test_convert_rotary_tables_of_the_settings_are_taken(tmp_path: Path):
    module = state(Hooked(rotary=4, attn_only=True))
    for dtype in (torch.float32, torch.bfloat16):
        tables = rotary_tables(2, 14, 4, base=500.0, adjacent=True)
        torch.save(module | {n: t.to(dtype) for n, t in tables.items()}, tmp_path / "m.pt")
        settings = {"rotary_base": 500, "rotary_adjacent_pairs": True}
        convert_model(tmp_path / "m.pt", tmp_path / str(dtype), options=settings)


def test_convert_whole_module_says_how_to_save_tensors(tmp_path: Path):
    message = refusal(tmp_path, torch.nn.Linear(2, 2))
    assert "(torch.nn.modules.linear.Linear); loading those could run code" in message
    assert "torch.save(model.state_dict()" in message


def test_convert_two_state_dicts_need_a_key(tmp_path: Path):
    weights = state(Grokking())
    message = refusal(tmp_path, {"model": weights, "net": weights})
    assert "--key model" in message
    assert "allowed: model, net" in refusal(tmp_path, {"model": weights, "net": {}}, key="mode")


def test_convert_damaged_files_are_refused(tmp_path: Path):
    for name in ("a.pt", "a.npz", "a.safetensors"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(InvalidInput, match="cannot be read"):
            convert_model(tmp_path / name, tmp_path / "out", options={})
    np.savez(tmp_path / "o.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InvalidInput, match="plain arrays"):
        convert_model(tmp_path / "o.npz", tmp_path / "out", options={})


def test_convert_into_a_full_folder_is_refused(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    torch.save(state(Grokking()), tmp_path / "m.pt")
    with pytest.raises(InvalidInput, match="exists already"):
        convert_model(tmp_path / "m.pt", tmp_path / "out", options={"act_fn": "relu"})
    (tmp_path / "out" / "mine").unlink()
    convert_model(tmp_path / "m.pt", tmp_path / "out", options={"act_fn": "relu"})


def test_convert_into_an_empty_current_folder_or_a_link_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    torch.save(state(Grokking()), tmp_path / "m.pt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "target").mkdir()
    convert_model(tmp_path / "m.pt", tmp_path / "link", options={"act_fn": "relu"})
    assert (tmp_path / "link").is_symlink()
    monkeypatch.chdir(tmp_path / "empty")
    convert_model(tmp_path / "m.pt", Path(), options={"act_fn": "relu"})
    for name in ("target", "empty"):
        written = sorted(path.name for path in (tmp_path / name).iterdir())
        assert written == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("exists", [False, True])
def test_convert_to_a_full_disk_is_one_error(
    exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*arguments: Any, **named: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("acdc_pipeline.models.tl_format.save_file", fail)
    torch.save(state(Grokking()), tmp_path / "m.pt")
    if exists:
        (tmp_path / "out").mkdir()
    with pytest.raises(InvalidInput, match=r"cannot be written: .*No space left on device"):
        convert_model(tmp_path / "m.pt", tmp_path / "out", options={"act_fn": "relu"})
    assert {p.name for p in tmp_path.rglob("*")} == ({"m.pt", "out"} if exists else {"m.pt"})


@pytest.mark.parametrize(
    ("config", "kind", "part"),
    [
        ({"act_fn": "relu", "n_heds": 2}, InvalidInput, "did you mean 'n_heads'"),
        ({"act_fn": "relu", "parallel_attn_mlp": True}, UnsupportedModel, "parallel_attn_mlp"),
        ({"act_fn": "relu", "d_model": 9}, InvalidInput, "have 8"),
    ],
)
def test_convert_config_file_that_does_not_fit_is_refused(config, kind, part, tmp_path: Path):
    (tmp_path / "c.json").write_text(json.dumps(config))
    torch.save(state(Grokking()), tmp_path / "m.pt")
    with pytest.raises(kind, match=part):
        convert_model(tmp_path / "m.pt", tmp_path / "out", options={}, config=tmp_path / "c.json")


def test_convert_unknown_layout_is_refused(tmp_path: Path):
    torch.save(state(Grokking()), tmp_path / "m.pt")
    with pytest.raises(UnknownName, match="nanogtp"):
        convert_model(tmp_path / "m.pt", tmp_path / "out", options={}, layout="nanogtp")
