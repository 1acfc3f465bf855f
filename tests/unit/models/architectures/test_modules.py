"""Architectures that are read from the modules of the transformers model itself."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import ArceeConfig, AutoModelForCausalLM, MixtralConfig

from acdc_pipeline.engine import parity_error
from acdc_pipeline.engine.components import mlp_output
from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.graph import Circuit
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.models.architectures.reading.slots import split_fused
from acdc_pipeline.models.attach import attach_model
from acdc_pipeline.models.bridge import wrap_pretrained
from acdc_pipeline.models.describe import list_features
from acdc_pipeline.models.device import resolve_dtype
from acdc_pipeline.models.hashing import hash_nested
from acdc_pipeline.models.memory import resolve_model
from acdc_pipeline.models.memory.held import HeldModel
from acdc_pipeline.models.weights import TokenModule
from acdc_pipeline.workflows.circuit_run import patch_model
from tests.checkpoints import POSITIONS, VOCAB, randomised
from tests.float64 import Float64Throughout

TOKENS = torch.randint(VOCAB, (3, 9), generator=torch.Generator().manual_seed(3))

SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "hidden_size": 16,
    "intermediate_size": 24,
    "max_position_embeddings": POSITIONS,
}


def _arcee() -> Any:
    return AutoModelForCausalLM.from_config(ArceeConfig(**SIZES, attention_bias=True))


def _mixtral() -> Any:
    config = MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2, sliding_window=3)
    return AutoModelForCausalLM.from_config(config)


@pytest.fixture
def mixtral(tmp_path: Path) -> Path:
    return randomised(_mixtral(), tmp_path / "mixtral")


@pytest.mark.parametrize("make", [_arcee, _mixtral])
def test_load_model_from_modules_gives_the_logits_of_the_model(make: Any, tmp_path: Path):
    folder = randomised(make(), tmp_path / "model")
    lengths = torch.full((3,), 9)
    model = load_model(f"dir:{folder}", dtype="float64", device="cpu")
    with Float64Throughout():
        assert parity_error(model, TOKENS, lengths) < 1e-12
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
        plain.set_experts_implementation("eager")
        difference = model.reference_logits(TOKENS) - plain(TOKENS).logits
        assert difference.abs().max() < 1e-12
    assert parity_error(load_model(f"dir:{folder}", device="cpu"), TOKENS, lengths) < 1e-5


def test_load_model_mixture_of_experts_is_a_token_module(mixtral: Path):
    model = load_model(f"dir:{mixtral}", device="cpu")
    part = model.weights.blocks[0].mlp
    assert isinstance(part, TokenModule)
    # a router to 4 experts, and gate, up and down of the 2 that a token passes
    assert part.n_weights == 16 * 4 + 2 * 3 * 16 * 24
    assert "mixtures of 4 experts, 2 per token" in list_features(model.weights)
    assert model.bridge is None


def test_load_model_in_sixteen_bits_reproduces_the_rounded_experts(mixtral: Path):
    model = load_model(f"dir:{mixtral}", dtype="bfloat16", device="cpu")
    assert parity_error(model, TOKENS, torch.full((3,), 9)) < 1e-5
    for parameter in model.original.parameters():
        assert torch.equal(parameter, parameter.bfloat16().float())


def test_load_model_windows_of_a_mixture_are_needed(mixtral: Path):
    model = load_model(f"dir:{mixtral}", device="cpu")
    blocks = [replace(b, attn=replace(b.attention, window=None)) for b in model.weights.blocks]
    wide = replace(model, weights=replace(model.weights, blocks=tuple(blocks)))
    assert parity_error(wide, TOKENS, torch.full((3,), 9)) > 1e-3


def test_mlp_output_of_a_token_module_is_scaled_and_has_a_gradient():
    module = nn.Linear(4, 4).requires_grad_(False)
    part = TokenModule(module, 16, 2, "a matrix", scale=3.0)
    x = torch.randn(2, 5, 4, requires_grad=True)
    out = mlp_output(x, part)
    torch.testing.assert_close(out, 3 * (x @ module.weight.T + module.bias))
    out.sum().backward()
    torch.testing.assert_close(x.grad, (3 * module.weight.sum(0)).expand(2, 5, 4))


def test_weights_to_another_type_copy_a_token_module(mixtral: Path):
    weights = load_model(f"dir:{mixtral}", device="cpu").weights
    part = weights.blocks[0].mlp
    assert isinstance(part, TokenModule)
    same = weights.to(precision=resolve_dtype("float32"), device=torch.device("cpu"))
    wide = weights.to(precision=resolve_dtype("float64"), device=torch.device("cpu"))
    assert same.blocks[0].mlp == part
    assert isinstance(wide.blocks[0].mlp, TokenModule)
    assert {p.dtype for p in wide.blocks[0].mlp.module.parameters()} == {torch.float64}
    assert {p.dtype for p in part.module.parameters()} == {torch.float32}


def test_hash_nested_changes_with_a_weight_inside_a_token_module():
    module = nn.Linear(4, 4).requires_grad_(False)
    part = TokenModule(module, 16, 2, "a matrix")
    before = hash_nested((part,))
    assert hash_nested((part,)) == before
    module.weight[1, 2] += 1
    assert hash_nested((part,)) != before


def test_split_orders_of_a_fused_projection():
    # two query heads on one key/value head of two dimensions; rows are named by their numbers
    rows = torch.arange(8.0)[:, None]
    q, k, v = split_fused(rows, "blocks", 2, 1)
    assert (q.flatten().tolist(), k.flatten().tolist(), v.flatten().tolist()) == (
        [0, 1, 2, 3], [4, 5], [6, 7],
    )  # fmt: skip
    rows = torch.arange(12.0)[:, None]
    q, k, v = split_fused(rows, "heads", 2, 2)
    assert (q.flatten().tolist(), k.flatten().tolist(), v.flatten().tolist()) == (
        [0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11],
    )  # fmt: skip
    rows = torch.arange(16.0)[:, None]
    q, k, v = split_fused(rows, "groups", 4, 2)
    assert (q.flatten().tolist(), k.flatten().tolist(), v.flatten().tolist()) == (
        [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15],
    )  # fmt: skip


def _held(model: Any) -> LoadedModel:
    held = resolve_model(model)
    assert isinstance(held, HeldModel)
    return held.load("float32", "cpu")


def test_resolve_model_in_memory_is_read_and_stays_as_it_is(mixtral: Path):
    model = AutoModelForCausalLM.from_pretrained(mixtral)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = model.config._experts_implementation, model.config._attn_implementation
    held = _held(model)
    assert parity_error(held, TOKENS, torch.full((3,), 9)) < 1e-5
    assert held.original is not model
    assert settings == (model.config._experts_implementation, model.config._attn_implementation)
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_resolve_model_of_load_model_that_changed_is_refused(mixtral: Path):
    model = load_model(f"dir:{mixtral}", device="cpu")
    part = model.weights.blocks[0].mlp
    assert isinstance(part, TokenModule)
    assert isinstance(resolve_model(model), HeldModel)
    next(part.module.parameters())[0, 0] += 1
    with pytest.raises(InvalidInput, match="changed"):
        resolve_model(model)


def test_attach_model_finds_the_final_norm(mixtral: Path):
    model = AutoModelForCausalLM.from_pretrained(mixtral)
    assert attach_model(model).final_norm is model.model.norm
    with pytest.raises(InvalidInput) as raised:
        attach_model(load_model(f"dir:{mixtral}", device="cpu"))
    assert "original" in str(raised.value.fix)


def test_patch_model_of_a_mixture_gives_the_logits_of_the_circuit(mixtral: Path):
    model = AutoModelForCausalLM.from_pretrained(mixtral)
    whole = model(TOKENS).logits
    topology = load_model(f"dir:{mixtral}", device="cpu").topology
    with torch.no_grad(), patch_model(Circuit.full(topology), model, ablation="zero") as patched:
        torch.testing.assert_close(patched(TOKENS).logits, whole, rtol=1e-4, atol=1e-4)
    nothing = Circuit(topology, frozenset())
    with torch.no_grad(), patch_model(nothing, model, ablation="zero") as patched:
        # nothing reaches the logits: an RMS norm without a bias gives zeros
        assert not patched(TOKENS).logits.any()
    assert torch.equal(model(TOKENS).logits, whole)


# peft uses a deprecated name of transformers
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_resolve_model_with_lora_on_a_mixture_is_merged_into_the_copy(mixtral: Path):
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(mixtral)
    plain = base(TOKENS).logits
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape))
    held = _held(adapted)
    assert (held.reference_logits(TOKENS) - plain).abs().max() > 1e-2
    assert parity_error(held, TOKENS, torch.full((3,), 9)) < 1e-5


def test_resolve_model_in_a_bridge_of_a_module_architecture_is_refused(mixtral: Path):
    bridge = wrap_pretrained(AutoModelForCausalLM.from_pretrained(mixtral))
    with pytest.raises(UnsupportedModel, match="not from a TransformerBridge") as raised:
        resolve_model(bridge)
    assert "PreTrainedModel" in str(raised.value.fix)


def test_read_mlp_with_an_activation_of_its_own_is_run_as_a_module(tmp_path: Path):
    folder = randomised(
        AutoModelForCausalLM.from_config(ArceeConfig(**SIZES, hidden_act="tanh")),
        tmp_path / "model",
    )
    model = load_model(f"dir:{folder}", device="cpu")
    part = model.weights.blocks[0].mlp
    assert isinstance(part, TokenModule)
    assert part.n_weights == 2 * 16 * 24
    assert part.width == 24
    assert parity_error(model, TOKENS, torch.full((3,), 9)) < 1e-5
    assert "MLPs of ArceeMLP" in list_features(model.weights)


def test_loading_from_modules_does_not_import_transformer_lens(mixtral: Path):
    code = (
        "import sys; from acdc_pipeline.models import load_model;"
        f"load_model('dir:{mixtral}', device='cpu'); print('transformer_lens' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
