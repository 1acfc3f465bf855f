"""A model's parts have digests of their own."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.take_fingerprint import add_head_digests, take_fingerprint
from acdc_pipeline.models.zoo import zoo_path
from acdc_pipeline.regression.changes import changes_between


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of a zoo model."""
    return shutil.copytree(zoo_path("compiled-or"), tmp_path / "model")


def test_fingerprint_of_a_copy_is_the_same(copy: Path):
    assert take_fingerprint(f"dir:{copy}") == take_fingerprint("zoo:compiled-or")


def test_fingerprint_tells_which_tensor_changed(copy: Path):
    before = take_fingerprint(f"dir:{copy}")
    tensors = load_file(copy / "model.safetensors")
    name = sorted(tensors)[0]
    save_file(tensors | {name: tensors[name] + 1}, copy / "model.safetensors")
    after = take_fingerprint(f"dir:{copy}")
    assert [n for n in tensors if after.tensors[n] != before.tensors[n]] == [name]
    assert set(after.tensors) == set(tensors)
    assert after.revision != before.revision


def test_fingerprint_of_a_tensor_is_that_of_its_shape_too(copy: Path):
    before = take_fingerprint(f"dir:{copy}")
    tensors = load_file(copy / "model.safetensors")
    name = next(n for n, tensor in tensors.items() if tensor.ndim > 1)
    flat = tensors | {name: torch.flatten(tensors[name])}
    save_file(flat, copy / "model.safetensors")
    assert take_fingerprint(f"dir:{copy}").tensors[name] != before.tensors[name]


def test_fingerprint_config_leaves_out_what_reaches_no_output(copy: Path):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "transformers_version": "9", "x": 1}))
    found = take_fingerprint(f"dir:{copy}").config
    assert "transformers_version" not in found
    assert found["x"] == 1


def test_fingerprint_without_a_tokenizer_has_none(copy: Path):
    before = take_fingerprint(f"dir:{copy}")
    assert before.tokenizer is not None
    (copy / "tokenizer.json").unlink()
    assert take_fingerprint(f"dir:{copy}").tokenizer is None


@pytest.mark.parametrize("size", [4, 40, 400])
def test_fingerprint_of_weights_that_are_cut_off_is_invalid_input(copy: Path, size: int):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InvalidInput, match="not a safetensors file"):
        take_fingerprint(f"dir:{copy}")


def test_add_head_digests_two_heads_exchanged_exchange_their_digests(tmp_path: Path):
    copy = shutil.copytree(zoo_path("compiled-or"), tmp_path / "exchanged")
    before = add_head_digests(take_fingerprint("zoo:compiled-or"), "zoo:compiled-or").heads
    tensors = load_file(copy / "model.safetensors")
    for name in [n for n in tensors if re.search(r"blocks\.0\.attn\.(W_|b_[QKV])", n)]:
        tensors[name] = tensors[name].flip(0).contiguous()
    save_file(tensors, copy / "model.safetensors")
    after = add_head_digests(take_fingerprint(f"dir:{copy}"), f"dir:{copy}").heads
    first = [name for name in before if name.startswith("a0.")]
    assert [after[name] for name in first] == [before[name] for name in reversed(first)]
    assert len(first) > 1


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("tokenizer_config.json", {"bos_token": "<pad>"}, "bos_token <bos> -> <pad>"),
        ("tokenizer_config.json", {"add_prefix_space": True}, "add_prefix_space absent -> True"),
        ("added_tokens.json", {"<sep>": 99}, "added_tokens.json: <sep> absent -> 99"),
    ],
)
def test_fingerprint_and_revision_hold_what_changes_tokens_beside_the_vocabulary(
    copy: Path, file: str, changes: dict[str, object], said: str
):
    before = take_fingerprint(f"dir:{copy}")
    path = copy / file
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))
    after = take_fingerprint(f"dir:{copy}")
    assert after.revision != before.revision
    assert changes_between(before, after).definition == (f"tokenizer settings changed: {said}",)


def test_fingerprint_leaves_out_settings_of_the_tokenizer_that_change_no_token(copy: Path):
    before = take_fingerprint(f"dir:{copy}")
    path = copy / "tokenizer_config.json"
    inert = {"model_max_length": 3, "chat_template": "x", "padding_side": "left"}
    path.write_text(json.dumps(json.loads(path.read_text()) | inert))
    assert take_fingerprint(f"dir:{copy}") == before


def test_baseline_without_settings_of_the_tokenizer_holds_for_any(copy: Path):
    now = take_fingerprint(f"dir:{copy}")
    earlier = now.model_copy(update={"tokenizer_settings": None, "revision": "0" * 20})
    assert changes_between(earlier, now).all == ()
