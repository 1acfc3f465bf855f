"""Text models inside classes that also read images or sound, as files and in memory."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Gemma3ForConditionalGeneration

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models import describe_model, load_model
from acdc_pipeline.models.attach import attach_model
from acdc_pipeline.models.memory.hold import hold_model
from tests.every_class import EVERY_CLASS, TinyModel
from tests.hugging_face_models import VOCAB

TOKENS = torch.tensor([[1, 5, 2, 7, 3], [4, 4, 9, 0, 6]])


def _tiny(name: str) -> TinyModel:
    (tiny,) = (tiny for tiny in EVERY_CLASS if tiny.name == name)
    return tiny


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "gemma"
    return _tiny("Gemma3ForConditionalGeneration").save(directory)


@pytest.fixture
def changed(gemma: Path, tmp_path: Path):
    """A copy of the model with fields of its config, and tensors by new names, changed."""

    def change(config: dict[str, Any], rename: Any = None) -> str:
        fields = json.loads((gemma / "config.json").read_text())
        for name, value in config.items():
            part, _, field = name.rpartition(".")
            (fields[part] if part else fields)[field] = value
        (tmp_path / "config.json").write_text(json.dumps(fields))
        tensors = load_file(gemma / "model.safetensors")
        if rename is not None:
            tensors = {rename(name): tensor for name, tensor in tensors.items()}
        save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
        return f"dir:{tmp_path}"

    return change


def test_load_model_encoders_are_not_loaded(gemma: Path):
    model = load_model(f"dir:{gemma}", dtype="float64", device="cpu")
    names = {name for name, _ in model.original.named_parameters()}
    assert names
    assert not [name for name in names if "vision" in name or "projector" in name]
    assert [name for name in load_file(gemma / "model.safetensors") if "vision" in name]


def test_load_model_original_is_of_the_class_of_transformers_and_can_be_pickled(gemma: Path):
    model = load_model(f"dir:{gemma}", dtype="float64", device="cpu").original
    assert type(model) is Gemma3ForConditionalGeneration
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again(TOKENS).logits, model(TOKENS).logits)


def test_load_model_names_of_tensors_of_either_time_are_read(changed, gemma: Path):
    # Files of early 2025, and those that transformers still writes, have the older names.
    def newer(name: str) -> str:
        return f"model.{name.replace('language_model.model.', 'language_model.')}"

    assert "language_model.model.norm.weight" in load_file(gemma / "model.safetensors")
    model = load_model(changed({}, newer), dtype="float64", device="cpu")
    expected = load_model(f"dir:{gemma}", dtype="float64", device="cpu")
    assert torch.equal(model.reference_logits(TOKENS), expected.reference_logits(TOKENS))


def test_load_model_tensor_of_no_module_is_named(changed):
    def misspelt(name: str) -> str:
        return name.replace("layers.1.mlp.up_proj", "layers.1.mlp.upwards")

    with pytest.raises(InvalidInput, match=r"missing: model\.language_model\.layers\.1\.mlp\.up_"):
        load_model(changed({}, misspelt), device="cpu")


def test_describe_model_fields_that_the_text_config_leaves_out_have_their_defaults(changed):
    ref = changed({})
    directory = Path(ref.removeprefix("dir:"))
    fields = json.loads((directory / "config.json").read_text())
    for name in ("num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size"):
        del fields["text_config"][name]
    (directory / "config.json").write_text(json.dumps(fields))
    described = describe_model(ref)
    # of Gemma3TextConfig
    assert (described.n_heads, described.n_kv_heads, described.d_head) == (8, 4, 256)
    assert (described.vocab, described.d_model, described.n_layers) == (262_208, 16, 2)


def test_describe_model_text_fields_beside_those_of_the_encoder_are_read(tmp_path: Path):
    # As Qwen/Qwen2-VL-2B-Instruct was published.
    config = {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_attention_heads": 12,
        "num_hidden_layers": 28,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 1536},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").touch()
    described = describe_model(f"dir:{tmp_path}")
    assert described.refused is None
    assert (described.n_layers, described.n_heads, described.n_kv_heads) == (28, 12, 2)
    assert (described.d_model, described.d_mlp, described.vocab) == (1536, 8960, 151936)


def test_text_model_of_another_kind_is_refused_with_its_name(changed):
    ref = changed(
        {
            "architectures": ["LlavaForConditionalGeneration"],
            "model_type": "llava",
            "text_config": {"model_type": "gpt_neo"},
        }
    )
    described = describe_model(ref)
    assert "its text model, a 'gpt_neo', is not reproduced inside it" in str(described.refused)
    with pytest.raises(UnsupportedModel, match="its text model, a 'gpt_neo'"):
        load_model(ref, device="cpu")


def test_text_model_with_a_refused_setting_is_refused_for_that_reason(changed):
    ref = changed({"text_config.use_bidirectional_attention": True})
    with pytest.raises(UnsupportedModel, match="it reads prompts from both sides"):
        load_model(ref, device="cpu")


@pytest.mark.parametrize("value", ["many", {"a": 1}, -3])
def test_fields_of_a_text_model_that_cannot_be_read_are_invalid(changed, value: Any):
    ref = changed({"text_config.num_hidden_layers": value})
    for look in (describe_model, load_model):
        with pytest.raises(InvalidInput, match="num_hidden_layers"):
            look(ref)


@pytest.mark.parametrize("kind", ["llama", "no such kind", None])
def test_model_type_of_another_class_is_named_with_the_right_one(changed, kind: str | None):
    ref = changed({"model_type": kind})
    for look in (describe_model, load_model):
        with pytest.raises(InvalidInput, match=r"(?s)is not the model_type.*gemma3"):
            look(ref)


def test_model_in_memory_is_that_of_its_files_and_stays_whole(gemma: Path):
    model = _tiny("Gemma3ForConditionalGeneration").load(gemma)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    held = hold_model(model, None).load("float64", "cpu")
    loaded = load_model(f"dir:{gemma}", dtype="float64", device="cpu")
    assert torch.equal(held.reference_logits(TOKENS), loaded.reference_logits(TOKENS))
    assert torch.equal(held.weights.w_u, loaded.weights.w_u)
    assert torch.equal(held.weights.blocks[1].attention.w_q, loaded.weights.blocks[1].attention.w_q)
    assert not [name for name, _ in held.original.named_parameters() if "vision" in name]
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_revision_of_a_model_in_memory_depends_on_its_text_model_alone(gemma: Path):
    model = _tiny("Gemma3ForConditionalGeneration").load(gemma)
    first = hold_model(model, None).revision
    with torch.no_grad():
        model.model.multi_modal_projector.mm_input_projection_weight.add_(1)
    assert hold_model(model, None).revision == first
    with torch.no_grad():
        model.model.language_model.norm.weight.add_(1)
    assert hold_model(model, None).revision != first


def test_attach_model_final_norm_is_that_of_the_text_model(gemma: Path):
    model = _tiny("Gemma3ForConditionalGeneration").load(gemma)
    attached = attach_model(model)
    assert attached.called is model
    assert attached.final_norm is model.model.language_model.norm


def test_cross_attention_is_passed_over_and_layers_are_counted_without_it(tmp_path: Path):
    tiny = _tiny("MllamaForConditionalGeneration")
    directory = tiny.save(tmp_path / "mllama")
    described = describe_model(f"dir:{directory}")
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    assert described.n_layers == len(model.weights.blocks) == 2
    third = tiny.load(directory).model.language_model.layers[2]
    second = model.weights.blocks[1].attention
    assert torch.equal(second.w_o.flatten(0, 1), third.self_attn.o_proj.weight.T)
    assert model.weights.w_e.shape[0] == VOCAB
    with torch.no_grad():
        logits = tiny.load(directory)(TOKENS, use_cache=False).logits
    assert torch.equal(model.reference_logits(TOKENS), logits)
