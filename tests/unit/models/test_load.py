"""Loading models: every kind of reference, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from acdc_pipeline.errors import InvalidInput, UnknownName, UnsupportedModel
from acdc_pipeline.models import describe_model, load_model, locate
from acdc_pipeline.models.zoo import zoo_path
from acdc_pipeline.specs import ModelRef
from tests import checkpoints, tiny_models

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    return checkpoints.gpt2(tmp_path / "gpt2")


@pytest.fixture
def cached_repository(gpt2: Path) -> str:
    """A model in the hub's cache, laid out as the hub's own client does."""
    folder = Path(constants.HF_HUB_CACHE) / "models--some-org--tiny-gpt2"
    snapshot = folder / "snapshots" / COMMIT
    shutil.copytree(gpt2, snapshot, dirs_exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(COMMIT)
    return "some-org/tiny-gpt2"


def test_load_model_from_hub_cache_is_the_same_model_and_pinned_to_its_commit(
    cached_repository: str, gpt2: Path
):
    from_hub = load_model(f"hf:{cached_repository}", device="cpu")
    from_directory = load_model(f"dir:{gpt2}", device="cpu")
    assert from_hub.revision == COMMIT
    assert torch.equal(from_hub.weights.w_e, from_directory.weights.w_e)


def test_locate_hub_model_by_commit_finds_the_cached_snapshot(cached_repository: str):
    located = locate(ModelRef.parse(f"hf:{cached_repository}@{COMMIT}"))
    assert located.revision == COMMIT


def test_locate_hub_model_that_is_not_cached_offline_says_so():
    with pytest.raises(InvalidInput, match="cache") as caught:
        locate(ModelRef.parse("hf:nobody/nothing"))
    assert "dir:PATH" in str(caught.value.fix)


def test_locate_directory_revision_changes_with_the_weights_only(tmp_path: Path):
    one = checkpoints.gpt2(tmp_path / "one", seed=1)
    same = shutil.copytree(one, tmp_path / "same")
    other = checkpoints.gpt2(tmp_path / "other", seed=2)
    revisions = [locate(ModelRef.parse(f"dir:{d}")).revision for d in (one, same, other)]
    assert revisions[0] == revisions[1] != revisions[2]


def test_load_model_unknown_zoo_name_suggests_the_nearest():
    with pytest.raises(UnknownName, match="compiled-induction"):
        load_model("zoo:compiled-inductoin")


def test_load_model_missing_directory_names_it(tmp_path: Path):
    with pytest.raises(InvalidInput, match="nowhere"):
        load_model(f"dir:{tmp_path / 'nowhere'}")


def test_load_model_pickled_weights_are_refused(gpt2: Path):
    (gpt2 / "model.safetensors").unlink()
    (gpt2 / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InvalidInput, match=r"pytorch_model\.bin"):
        load_model(f"dir:{gpt2}")


def test_load_model_truncated_weights_are_an_error_of_that_directory(gpt2: Path):
    weights = gpt2 / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InvalidInput) as caught:
        load_model(f"dir:{gpt2}")
    assert str(gpt2) in str(caught.value)
    assert "cut off" in str(caught.value.fix)


def test_load_native_model_says_which_file_or_tensor_is_wrong_and_what_to_do(tmp_path: Path):
    model = shutil.copytree(zoo_path("compiled-or"), tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    lacking = {n: t for n, t in tensors.items() if n != "blocks.0.attn.W_K"}
    save_file(lacking, model / "model.safetensors")
    with pytest.raises(InvalidInput, match=r"tensors missing: blocks\.0\.attn\.W_K") as caught:
        load_model(f"dir:{model}")
    assert "config.json" in str(caught.value.fix)
    (model / "model.safetensors").write_bytes(b"\x08")
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        load_model(f"dir:{model}")
    assert caught.value.where == str(model / "model.safetensors")
    assert "cut off" in str(caught.value.fix)


def test_load_model_missing_tensor_is_refused_rather_than_made_up(gpt2: Path):
    weights = load_file(gpt2 / "model.safetensors")
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, gpt2 / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidInput, match=r"h\.1\.mlp\.c_fc\.weight"):
        load_model(f"dir:{gpt2}")


def test_load_model_broken_config_names_the_file(gpt2: Path):
    (gpt2 / "config.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"config\.json"):
        load_model(f"dir:{gpt2}")


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("T5ForConditionalGeneration", "two residual streams"),
        ("MambaForCausalLM", "no attention heads"),
        ("BartForCausalLM", "second residual stream"),
        ("JetMoeForCausalLM", "no fixed node"),
        ("SomethingNewForCausalLM", "does not reproduce"),
    ],
)
def test_load_model_unsupported_architecture_is_refused_with_its_reason(
    gpt2: Path, architecture: str, reason: str
):
    config = json.loads((gpt2 / "config.json").read_text())
    (gpt2 / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
    with pytest.raises(UnsupportedModel, match=reason) as caught:
        load_model(f"dir:{gpt2}")
    assert architecture in str(caught.value)
    refused = describe_model(f"dir:{gpt2}").refused
    assert refused is not None
    assert reason in refused


def test_describe_model_agrees_with_the_loaded_graph_for_every_architecture():
    for name in checkpoints.EVERY:
        described = describe_model(f"dir:{tiny_models.folder(name)}")
        assert described.n_edges == tiny_models.loaded(name).topology.n_edges


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_locate_file_of_a_model_that_is_a_folder_is_named(gpt2: Path, name: str):
    (gpt2 / name).unlink()
    (gpt2 / name).mkdir()
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        locate(ModelRef.parse(f"dir:{gpt2}"))
    assert caught.value.where == str(gpt2 / name)
    assert caught.value.fix
