"""LoRA adapters: merged into their base model, or one clear error."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from acdc_pipeline.engine import parity_error
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models import describe_model, load_model, locate
from acdc_pipeline.specs import ModelRef
from tests import checkpoints
from tests.hugging_face_models import VOCAB

SCALE = 2.0
"""alpha / rank of the adapters here."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return checkpoints.llama(tmp_path / "base")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """A LoRA of rank 2 on the queries and values of `base`, with random matrices."""
    peft = pytest.importorskip("peft", reason="needs the extra peft")
    from transformers import AutoModelForCausalLM

    config = peft.LoraConfig(
        r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    with warnings.catch_warnings():
        # peft asks transformers by a name that its next version drops
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    folder = tmp_path / "adapter"
    model.save_pretrained(folder)
    return folder


def revision(folder: Path) -> str:
    return locate(ModelRef.parse(f"dir:{folder}")).revision


def rewrite(folder: Path, **fields: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_load_model_of_an_adapter_has_the_base_weights_plus_the_product(base: Path, adapter: Path):
    model = load_model(f"dir:{adapter}", device="cpu")
    plain = load_file(base / "model.safetensors")["model.layers.1.self_attn.v_proj.weight"]
    change = load_file(adapter / "adapter_model.safetensors")
    place = "base_model.model.model.layers.1.self_attn.v_proj.lora_{}.weight"
    expected = plain + SCALE * change[place.format("B")] @ change[place.format("A")]
    found = model.weights.blocks[1].attention.w_v.transpose(1, 2).reshape(expected.shape)
    # the same product in float32, summed in another order
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    tokens = torch.randint(VOCAB, (3, 8), generator=torch.Generator().manual_seed(0))
    assert parity_error(model, tokens, torch.full((3,), 8)) <= 1e-5
    assert describe_model(f"dir:{adapter}").topology == model.topology


def test_adapter_is_merged_once(adapter: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "acdc_pipeline")
    for _ in range(2):
        load_model(f"dir:{adapter}", device="cpu")
    assert [record.getMessage()[:15] for record in caplog.records] == ["merging adapter"]


def test_adapter_revision_follows_its_weights_and_those_of_its_base(
    base: Path, adapter: Path, tmp_path: Path
):
    first = revision(adapter)
    other = checkpoints.llama(tmp_path / "other", seed=5)
    rewrite(adapter, base_model_name_or_path=str(other))
    second = revision(adapter)
    rewrite(adapter, base_model_name_or_path=str(base), lora_alpha=6)
    third = revision(adapter)
    assert len({first, second, third, revision(base)}) == 4


def test_adapter_without_the_package_is_named_with_its_base(
    base: Path, adapter: Path, without_package
):
    without_package("peft")
    with pytest.raises(InvalidInput, match="is a LORA adapter of") as caught:
        load_model(f"dir:{adapter}")
    assert str(base) in caught.value.problem
    assert "pip install 'acdc-pipeline[peft]'" in str(caught.value.fix)
    assert "merge_and_unload" in str(caught.value.fix)


def test_adapter_whose_base_is_not_at_hand_says_which_it_is(adapter: Path):
    rewrite(adapter, base_model_name_or_path="some-org/absent")
    with pytest.raises(InvalidInput, match="hf:some-org/absent"):
        load_model(f"dir:{adapter}")
    rewrite(adapter, base_model_name_or_path="/no/such/folder")
    with pytest.raises(InvalidInput, match="/no/such/folder") as caught:
        load_model(f"dir:{adapter}")
    assert "base_model_name_or_path" in str(caught.value)


def test_adapter_that_does_not_fit_its_base_is_an_error_of_its_folder(
    adapter: Path, tmp_path: Path
):
    wide = checkpoints.llama(tmp_path / "wide", kv_heads=4)
    rewrite(adapter, base_model_name_or_path=str(wide))
    with pytest.raises(InvalidInput, match="cannot be merged into its base") as caught:
        load_model(f"dir:{adapter}")
    assert caught.value.where == str(adapter)


def test_adapter_that_lacks_layers_its_settings_name_is_refused(adapter: Path):
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({name: t for name, t in tensors.items() if ".layers.0." in name}, path)
    missing = sum(".layers.0." not in name for name in tensors)
    with pytest.raises(InvalidInput, match=f"lacks {missing} of the tensors") as caught:
        load_model(f"dir:{adapter}")
    assert caught.value.where == str(path)


def test_adapter_without_weights_names_the_file_it_lacks(adapter: Path):
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(InvalidInput, match=r"holds no adapter_model\.safetensors"):
        load_model(f"dir:{adapter}")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING adapters cannot be merged"),
        ({"base_model_name_or_path": None}, "does not name the model"),
    ],
)
def test_adapter_of_another_kind_or_without_a_base_is_refused(
    adapter: Path, fields: dict[str, object], message: str
):
    rewrite(adapter, **fields)
    with pytest.raises(InvalidInput, match=message):
        load_model(f"dir:{adapter}")


def test_adapter_with_pickled_weights_is_refused(adapter: Path):
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InvalidInput, match=r"adapter_model\.bin"):
        load_model(f"dir:{adapter}")
