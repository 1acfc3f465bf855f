"""Models in memory against the same checkpoints in folders, and against themselves."""

from __future__ import annotations

import copy
import dataclasses
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from acdc_pipeline.engine.parity import check_parity
from acdc_pipeline.errors import InvalidInput, ParityError, UnsupportedModel
from acdc_pipeline.models import load_model
from acdc_pipeline.models.hashing import hash_nested
from acdc_pipeline.models.memory import HeldModel, resolve_model
from acdc_pipeline.models.memory import hold as hold_module
from tests import checkpoints, memory_models
from tests.memory_models import TOKENS, assert_same, bridge, gpt2, pretrained, state
from tests.tokenizers import word_tokenizer

LENGTHS = torch.tensor([8, 8])


def held(model: Any, tokenizer: Any = None) -> HeldModel:
    found = resolve_model(model, tokenizer)
    assert isinstance(found, HeldModel)
    return found


FAMILIES = ("gpt2", "neox", "llama", "qwen2", "gemma2", "phi3")
OTHER_LAYOUTS = ("gptj", "opt", "falcon", "cohere", "olmo2")


@pytest.mark.parametrize("name", [*FAMILIES, *OTHER_LAYOUTS])
def test_hold_every_architecture_gives_the_weights_of_its_folder_and_stays_as_it_was(
    name: str, tmp_path: Path
):
    folder = checkpoints.HUGGING_FACE[name](tmp_path / name)
    expected = hash_nested(load_model(f"dir:{folder}", device="cpu").weights)
    for model in (pretrained(folder), bridge(pretrained(folder))):
        before = state(model)
        loaded = held(model).load("float32", "cpu")
        assert hash_nested(loaded.weights) == expected
        check_parity(loaded, TOKENS, LENGTHS)
        assert_same(before, state(model))


@pytest.mark.parametrize(
    ("name", "dtype"), [("gpt2", "float64"), ("falcon", "float64"), ("gemma2", "bfloat16")]
)
def test_hold_other_dtypes_compute_as_the_folder_does(name: str, dtype: str, tmp_path: Path):
    folder = checkpoints.HUGGING_FACE[name](tmp_path / name)
    expected = hash_nested(load_model(f"dir:{folder}", dtype=dtype, device="cpu").weights)
    for model in (pretrained(folder), bridge(pretrained(folder))):
        before = state(model)
        loaded = held(model).load(dtype, "cpu")
        assert hash_nested(loaded.weights) == expected
        check_parity(loaded, TOKENS, LENGTHS)
        assert_same(before, state(model))


def test_hold_bfloat16_model_is_widened_and_stays_bfloat16(tmp_path: Path):
    folder = checkpoints.llama(tmp_path / "llama")
    model = pretrained(folder, dtype=torch.bfloat16)
    model.train()
    before = state(model)
    loaded = held(model).load("float32", "cpu")
    assert_same(before, state(model))
    assert next(model.parameters()).dtype is torch.bfloat16
    # widening is exact: each weight is that of the file, rounded once
    wide = load_model(f"dir:{folder}", device="cpu").weights
    assert torch.equal(loaded.weights.w_e, wide.w_e.bfloat16().float())
    with torch.no_grad():
        expected = copy.deepcopy(model).float().eval()(TOKENS).logits
    assert torch.allclose(loaded.reference_logits(TOKENS), expected, atol=1e-5)  # another attention
    check_parity(loaded, TOKENS, LENGTHS)


@pytest.mark.parametrize("name", ["native-ln", "native-rms-rotary-gated"])
def test_hold_native_bridge_gives_the_weights_of_its_folder(name: str, tmp_path: Path):
    folder = checkpoints.NATIVE[name](tmp_path / name)
    loaded = load_model(f"dir:{folder}", device="cpu")
    before = state(loaded.bridge)
    own = held(loaded.bridge).load("float32", "cpu")
    assert hash_nested(own.weights) == hash_nested(loaded.weights)
    check_parity(own, TOKENS, LENGTHS)
    assert_same(before, state(loaded.bridge))


def test_hold_compatibility_mode_is_the_processed_model(tmp_path: Path):
    wrapped = bridge(gpt2(tmp_path))
    plain = held(wrapped).revision
    wrapped.enable_compatibility_mode(disable_warnings=True)
    before = state(wrapped)
    loaded = held(wrapped).load("float32", "cpu")
    check_parity(loaded, TOKENS, LENGTHS)
    assert_same(before, state(wrapped))
    assert held(wrapped).revision != plain


def test_hold_error_in_the_middle_leaves_the_model_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = gpt2(tmp_path)
    before = state(model)
    real = hold_module.wrap_pretrained

    def fail(copied: Any) -> Any:
        real(copied)
        raise KeyboardInterrupt

    monkeypatch.setattr(hold_module, "wrap_pretrained", fail)
    with pytest.raises(KeyboardInterrupt):
        held(model).load("float32", "cpu")
    assert_same(before, state(model))


def test_revision_is_that_of_weights_settings_and_tokenizer(tmp_path: Path):
    model, words = gpt2(tmp_path), ["a", "b", "c"]
    first = held(model).revision
    assert held(gpt2(tmp_path)).revision == first
    assert held(model.train()).revision == first
    named = copy.deepcopy(model)
    named.config.name_or_path = "elsewhere"
    assert held(named).revision == first
    with_words = held(model, word_tokenizer(words)).revision
    assert with_words == held(model, word_tokenizer(words)).revision
    others = {first, with_words, held(model, word_tokenizer([*words, "d"])).revision}
    others.add(held(gpt2(tmp_path, seed=1)).revision)
    with torch.no_grad():
        model.transformer.h[1].attn.c_attn.bias[3] += 1e-3
    others.add(held(model).revision)
    model.config.layer_norm_epsilon = 1e-3
    others.add(held(model).revision)
    model.transformer.h[0].ln_1.eps = 1e-2
    others.add(held(model).revision)
    model.transformer.h[0].mlp.act = nn.Tanh()
    others.add(held(model).revision)
    assert len(others) == 8


def test_revision_is_that_of_the_module_and_numbers_of_a_class_of_the_caller(tmp_path: Path):
    class Tanh(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden.mul(self.scale).tanh()

    def revision(act: nn.Module) -> str:
        model = gpt2(tmp_path)
        model.transformer.h[0].mlp.act = act
        return held(model).revision

    elsewhere = type("Tanh", (Tanh,), {"__module__": "elsewhere", "__qualname__": "Tanh"})
    same_name = type("Tanh", (Tanh,), {"__module__": "another", "__qualname__": "Tanh"})
    acts = [Tanh(1.0), Tanh(2.0), elsewhere(1.0), same_name(1.0), nn.Tanh()]
    assert len({revision(act) for act in acts}) == len(acts)
    assert revision(Tanh(1.0)) == revision(acts[0])


def test_revision_of_a_bridge_is_not_its_name_or_last_call(tmp_path: Path):
    one, other = bridge(gpt2(tmp_path)), bridge(gpt2(tmp_path))
    before = held(one).revision
    other.cfg.model_name = "another"
    other.run_with_cache(TOKENS)
    other.train()
    assert held(other).revision == before == held(one).revision
    with torch.no_grad():
        other.blocks[1].attn.q.original_component.weight[0, 0] += 1e-3
    assert held(other).revision != before


def test_revision_of_a_tokenizer_is_not_that_of_its_last_call(tmp_path: Path):
    model, tokenizer = gpt2(tmp_path), word_tokenizer(["a", "b"])
    before = held(model, tokenizer).revision
    tokenizer.pad_token = tokenizer.bos_token
    padded = held(model, tokenizer).revision
    tokenizer(["a b", "a"], padding=True, truncation=True, max_length=5)
    assert held(model, tokenizer).revision == padded != before


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("openai-community/gpt2", "gpt2"),
        ("/srv/My models/fine tuned!/", "fine-tuned"),
        ("C:\\models\\x", "x"),
        ("", "gpt2"),
        ("..", "gpt2"),
        ("m" * 200, "m" * 40),
    ],
)
def test_name_is_short_and_safe(given: str, name: str, tmp_path: Path):
    model = gpt2(tmp_path)
    model.config.name_or_path = given
    assert str(held(model)) == f"memory:{name}"


def test_bridge_brings_its_tokenizer_and_name(tmp_path: Path):
    tokenizer = word_tokenizer(["a", "b"], eos="<eos>")
    wrapped = bridge(gpt2(tmp_path))
    wrapped.tokenizer = tokenizer
    loaded = held(wrapped).load("float32", "cpu")
    assert str(loaded.ref) == "memory:wrapped"
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.get_vocab() == tokenizer.get_vocab()


def test_parity_of_a_model_whose_code_was_changed_fails(tmp_path: Path):
    model = gpt2(tmp_path)
    model.transformer.h[0].mlp.act = nn.Tanh()  # config.json knows nothing of it
    with pytest.raises(ParityError, match="differ from the model's"):
        check_parity(held(model).load("float32", "cpu"), TOKENS, LENGTHS)


def _with_hook(model: Any) -> Any:
    model.transformer.h[1].attn.register_forward_hook(lambda m, i, o: o)
    return model


def _with_forward(model: Any) -> Any:
    model.transformer.h[1].mlp.forward = lambda hidden: hidden
    return model


def _with_bound_forward(model: Any) -> Any:
    mlp = model.transformer.h[1].mlp
    mlp.forward = types.MethodType(lambda self, hidden: hidden, mlp)
    return model


def _with_accelerate_hook(model: Any) -> Any:
    model.transformer.h[1]._hf_hook = object()
    return model


def _quantised(model: Any) -> Any:
    model.config.quantization_config = {"quant_method": "awq", "bits": 4}
    return model


def _infinite(model: Any) -> Any:
    with torch.no_grad():
        model.transformer.wte.weight[0, 0] = torch.inf
    return model


def _with_lock(model: Any) -> Any:
    import threading

    model.extra = threading.Lock()
    return model


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_with_hook, r"'transformer.h.1.attn' has a forward hook \(_with_hook"),
        (_with_forward, r"'transformer.h.1.mlp' has a forward function of its own"),
        (_with_bound_forward, r"'transformer.h.1.mlp' has a forward function of its own"),
        (_with_accelerate_hook, "a hook of accelerate"),
        (_quantised, r"quantised \(awq\), and a model in memory is not dequantised"),
        (_infinite, "transformer.wte.weight: 1 of"),
        (_with_lock, "cannot be copied: cannot pickle"),
        (lambda model: model.to("meta"), "is on the meta device"),
        (lambda model: model.transformer, "'GPT2Model' is not supported"),
        (nn.Sequential, "Sequential is not a model"),
        (lambda model: 3, "builtins.int is not a model"),
    ],
)
def test_hold_what_cannot_be_reproduced_is_refused_and_stays_as_it_was(
    change: Any, says: str, tmp_path: Path
):
    changed = change(gpt2(tmp_path))
    with pytest.raises(InvalidInput, match=says):
        held(changed).load("float32", "cpu")


def test_hold_bridge_with_a_hook_is_refused_until_it_is_reset(tmp_path: Path):
    wrapped = bridge(gpt2(tmp_path))
    wrapped.add_hook("blocks.0.hook_out", lambda value, hook: 0 * value)
    with pytest.raises(InvalidInput, match="has a forward hook"):
        held(wrapped)
    wrapped.reset_hooks()
    check_parity(held(wrapped).load("float32", "cpu"), TOKENS, LENGTHS)


def test_hold_after_outputs_were_recorded_by_the_library_is_no_hook_of_the_caller(tmp_path: Path):
    model = gpt2(tmp_path)
    model(TOKENS, output_hidden_states=True, output_attentions=False)
    wrapped = bridge(gpt2(tmp_path))
    wrapped.run_with_cache(TOKENS)
    for one in (model, wrapped):
        check_parity(held(one).load("float32", "cpu"), TOKENS, LENGTHS)


# peft uses a deprecated name of transformers
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_hold_lora_is_merged_in_a_copy(tmp_path: Path):
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(target_modules=["c_attn"], r=2, fan_in_fan_out=True)
    adapted = peft.get_peft_model(gpt2(tmp_path), settings).eval()
    plain = held(adapted).revision
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:  # zero at first, so that nothing is added
                parameter.normal_(generator=torch.Generator().manual_seed(0))
    before = state(adapted)
    loaded = held(adapted).load("float32", "cpu")
    assert held(adapted).revision != plain
    check_parity(loaded, TOKENS, LENGTHS)  # with the logits of the model with its adapter
    assert_same(before, state(adapted))
    with pytest.raises(UnsupportedModel, match="of an adapter"):
        held(adapted.get_base_model())
    merged = held(copy.deepcopy(adapted).merge_and_unload()).load("float32", "cpu")
    assert hash_nested(merged.weights) == hash_nested(loaded.weights)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_revision_of_an_adapter_is_that_of_its_scale_and_refused_when_off(tmp_path: Path):
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(
        target_modules=["c_attn"], r=2, fan_in_fan_out=True, init_lora_weights=False
    )
    torch.manual_seed(0)
    adapted = peft.get_peft_model(gpt2(tmp_path), settings).eval()
    torch.manual_seed(0)
    again = peft.get_peft_model(gpt2(tmp_path), settings).eval()
    first = held(adapted).revision
    assert held(again).revision == first
    adapted.base_model.model.transformer.h[1].attn.c_attn.scale_layer(2.0)
    assert held(adapted).revision != first
    check_parity(held(adapted).load("float32", "cpu"), TOKENS, LENGTHS)
    with again.disable_adapter(), pytest.raises(UnsupportedModel, match="are switched off"):
        held(again)
    assert held(again).revision == first


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_hold_adapter_that_cannot_be_merged_is_refused_by_name(tmp_path: Path):
    peft = pytest.importorskip("peft")
    settings = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    adapted = peft.get_peft_model(gpt2(tmp_path), settings)
    with pytest.raises(UnsupportedModel, match="PROMPT_TUNING adapters cannot be merged"):
        held(adapted)


def test_hold_loaded_model_keeps_its_reference_until_it_is_changed(tmp_path: Path):
    folder = checkpoints.native(tmp_path / "native")
    model = load_model(f"dir:{folder}", device="cpu")
    found = held(model)
    assert (str(found), found.revision) == (f"dir:{folder}", model.revision)
    assert found.load("float32", "cpu") is model
    assert found.load("float64", "cpu").weights.w_e.dtype is torch.float64
    with pytest.raises(InvalidInput, match="weights or tokenizer changed after load_model"):
        held(dataclasses.replace(model, tokenizer=word_tokenizer(["a"])))
    for weight in (model.weights.blocks[0].attention.w_v, next(model.bridge.parameters()).data):
        weight[0] += 1
        with pytest.raises(InvalidInput, match="changed after load_model returned it"):
            held(model)
        weight[0] -= 1


def test_tokenizer_of_another_type_or_beside_a_reference_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match="a str is not a tokenizer"):
        held(gpt2(tmp_path), "gpt2")
    for model in ("zoo:attn-2l", load_model(f"dir:{checkpoints.native(tmp_path / 'n')}")):
        with pytest.raises(InvalidInput, match="with the tokenizer of its files"):
            resolve_model(model, word_tokenizer(["a"]))


def test_same_weights_in_a_bridge_and_in_its_module_compute_the_same(tmp_path: Path):
    folder = checkpoints.gpt2(tmp_path / "gpt2")
    one = held(pretrained(folder)).load("float32", "cpu")
    other = held(memory_models.bridge(pretrained(folder))).load("float32", "cpu")
    assert hash_nested(one.weights) == hash_nested(other.weights)
