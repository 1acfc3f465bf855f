"""Models of the caller under a circuit, against hooks at every input and the engine's own pass."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from acdc_pipeline import Circuit, load_model, patch_model
from acdc_pipeline.engine import run_circuit
from acdc_pipeline.engine.forward import run_sources, unembed
from acdc_pipeline.errors import (
    GraphError,
    InvalidInput,
    PromptError,
    UnknownName,
    UnsupportedModel,
)
from acdc_pipeline.graph import Topology
from acdc_pipeline.models.memory import resolve_model
from tests import checkpoints
from tests.oracles.bridge_patching import BridgePatching

_GENERATOR = torch.Generator().manual_seed(0)
CLEAN = torch.randint(checkpoints.VOCAB, (3, 9), generator=_GENERATOR)
CORRUPTED = torch.randint(checkpoints.VOCAB, (3, 9), generator=_GENERATOR)


def half(topology: Topology) -> Circuit:
    """Every second edge by chance, so that q, k and v of a head read different sums."""
    draw = Random(0)
    return Circuit(topology, frozenset(e for e in topology.edges if draw.random() < 0.5))


def hugging_face(directory: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(directory).eval()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.gpt2(tmp_path_factory.mktemp("models") / "gpt2")


@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean"])
@pytest.mark.parametrize("name", ["gpt2", "stablelm", "olmo"])
def test_patched_models_agree_with_hooks_at_every_input(name: str, ablation: str, tmp_path: Path):
    make = checkpoints.EVERY[name]
    path = make(tmp_path / "model")
    oracle = BridgePatching(
        load_model(f"dir:{path}", device="cpu").bridge, CLEAN, CORRUPTED, ablation
    )
    loaded = load_model(f"dir:{path}", device="cpu")
    circuit = half(loaded.topology)
    expected = oracle.logprobs({str(e) for e in loaded.topology.edges if e not in circuit})
    for model in (loaded.bridge, hugging_face(path)):
        with torch.no_grad(), patch_model(circuit, model, CORRUPTED, ablation=ablation) as patched:
            out = patched(CLEAN)
        ours = getattr(out, "logits", out)[:, -1].log_softmax(-1)
        # float32 sums in another order
        assert (ours - expected).abs().max() < 1e-5
        assert (oracle.model_logprobs - expected).abs().max() > 1e-2


# Grouped keys, norms after the attention and across heads, scaled outputs, fused matrices, MLPs
# that are no module: what hooks at the inputs of the modules could not patch head by head.
@pytest.mark.parametrize(
    "name", ["llama-biased", "gptj", "opt", "gemma2", "olmo2", "granite", "phi", "phi3"]
)
def test_patched_models_of_other_architectures_give_the_logits_of_the_circuit(
    name: str, tmp_path: Path
):
    path = checkpoints.EVERY[name](tmp_path / name)
    loaded = load_model(f"dir:{path}", device="cpu")
    circuit = half(loaded.topology)
    with torch.no_grad():
        ablated = run_sources(loaded.weights, CORRUPTED).outputs
        final = run_circuit(loaded.weights, CLEAN, ablated, circuit.edges)
        expected = unembed(loaded.weights, final)
        for model in (loaded.bridge, hugging_face(path)):
            with patch_model(circuit, model, CORRUPTED) as patched:
                out = patched(CLEAN)
            # float32; the final norm and the unembedding are the model's
            assert (
                getattr(out, "logits", out) - expected
            ).abs().max() < 3e-6 * expected.abs().max()


def test_patched_model_is_as_before_after_the_context_and_after_an_error(directory: Path):
    model = hugging_face(directory)
    modules = dict(model.named_modules())
    with torch.no_grad():
        before = model(CLEAN).logits
        with patch_model(half_of(model), model, CORRUPTED):
            assert not torch.allclose(model(CLEAN).logits, before)
        assert torch.equal(model(CLEAN).logits, before)
        with pytest.raises(PromptError), patch_model(half_of(model), model, CORRUPTED):
            model(CLEAN[:1])
        assert torch.equal(model(CLEAN).logits, before)
    assert dict(model.named_modules()) == modules
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_patched_model_inside_the_context_is_refused_as_a_model(directory: Path):
    for model in (load_model(f"dir:{directory}", device="cpu").bridge, hugging_face(directory)):
        circuit = half(load_model(f"dir:{directory}", device="cpu").topology)
        with patch_model(circuit, model, CORRUPTED):
            with (
                pytest.raises(InvalidInput, match="has a forward hook"),
                patch_model(circuit, model, CORRUPTED),
            ):
                pass
            with pytest.raises(InvalidInput, match="has a forward hook"):
                resolve_model(model)
        resolve_model(model)


def half_of(model: Any) -> Circuit:
    config = model.config
    return half(Topology(config.n_layer, config.n_head, has_mlp=True))


def test_patched_model_computes_its_own_loss_from_the_logits_of_the_circuit(directory: Path):
    model = hugging_face(directory)
    with torch.no_grad(), patch_model(half_of(model), model, CORRUPTED):
        out = model(CLEAN, labels=CLEAN)
    chosen = out.logits[:, :-1].log_softmax(-1).gather(-1, CLEAN[:, 1:, None])
    assert float(out.loss) == pytest.approx(-float(chosen.mean()), abs=1e-6)


def test_patched_model_has_the_weights_that_it_has_at_that_moment(directory: Path):
    model = hugging_face(directory)
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.weight.mul_(-1.5)
        changed = model(CLEAN).logits
        full = Circuit.full(half_of(model).topology)
        with patch_model(full, model, CORRUPTED):
            assert (model(CLEAN).logits - changed).abs().max() < 1e-5
        assert torch.equal(model(CLEAN).logits, changed)


def test_patched_model_with_padding_at_the_end_has_the_logits_of_the_short_prompt(directory: Path):
    model = hugging_face(directory)
    circuit = half_of(model)
    mask = torch.ones_like(CLEAN)
    mask[1, 6:] = 0
    with torch.no_grad():
        with patch_model(circuit, model, CORRUPTED):
            padded = model(CLEAN, attention_mask=mask).logits
        with patch_model(circuit, model, CORRUPTED[1:2, :6]):
            short = model(CLEAN[1:2, :6]).logits
    assert (padded[1:2, :6] - short).abs().max() < 1e-5


def test_patched_model_in_bfloat16_differs_by_its_rounding_only(directory: Path):
    model = hugging_face(directory).to(torch.bfloat16)
    parameters = list(model.parameters())
    with torch.no_grad(), patch_model(Circuit.full(half_of(model).topology), model, CORRUPTED):
        ours = model(CLEAN).logits
    with torch.no_grad():
        theirs = model(CLEAN).logits
    assert ours.dtype is torch.bfloat16
    # 8 bits of mantissa, over the sums of two layers
    assert (ours - theirs).abs().max() < 0.05 * theirs.abs().max()
    assert all(p.dtype is torch.bfloat16 for p in model.parameters())
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


def test_patched_model_under_mean_ablation_takes_any_number_of_prompts(directory: Path):
    model = hugging_face(directory)
    circuit = half_of(model)
    with torch.no_grad(), patch_model(circuit, model, CORRUPTED.tolist(), ablation="mean"):
        assert (model(CLEAN[:1]).logits - model(CLEAN).logits[:1]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"input_ids": CLEAN[:, :8]}, "3 prompts of 8 tokens, and the corrupted ones are 3 of 9"),
        ({"input_ids": CLEAN[:2]}, "2 prompts of 9 tokens, and the corrupted ones are 3 of 9"),
        ({"input_ids": CLEAN, "attention_mask": torch.tensor([[0] + [1] * 8] * 3)}, "padding in"),
        ({"inputs_embeds": torch.zeros(3, 9, 16)}, "embeddings in place of token ids"),
        ({"input_ids": CLEAN, "position_ids": torch.arange(9).flip(0)[None]}, "positions other"),
        ({"input_ids": CLEAN, "attention_mask": torch.ones(3, 1, 9, 9)}, "not [prompt, position]"),
    ],
)
def test_patched_model_refuses_calls_that_the_circuit_is_not_computed_for(
    directory: Path, call: dict[str, Tensor], says: str
):
    model = hugging_face(directory)
    with (
        patch_model(half_of(model), model, CORRUPTED),
        pytest.raises(PromptError) as caught,
    ):
        model(**call)
    assert says in str(caught.value)


def test_patched_model_refuses_to_go_on_from_a_cache(directory: Path):
    model = hugging_face(directory)
    with (
        patch_model(half_of(model), model, CORRUPTED),
        pytest.raises(PromptError, match="cache of earlier tokens"),
    ):
        model.generate(CLEAN, max_new_tokens=2, do_sample=False, pad_token_id=0)


def test_model_that_computes_something_else_than_its_weights_is_refused(directory: Path):
    model = hugging_face(directory)
    model.transformer.h[0].register_forward_hook(lambda module, args, out: out * 1.1)
    with (
        pytest.raises(InvalidInput, match="has a forward hook"),
        patch_model(half_of(model), model, CORRUPTED),
    ):
        pass


def wrong(directory: Path, kind: str) -> Any:
    model = hugging_face(directory)
    match kind:
        case "wrapped":
            return load_model(f"dir:{directory}", device="cpu").bridge.original_model
        case "loaded":
            return load_model(f"dir:{directory}", device="cpu")
        case "meta":
            return model.to("meta")
        case _:
            return torch.nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("wrapped", "part of a TransformerBridge"),
        ("loaded", "give its `bridge`"),
        ("meta", "on the meta device"),
        ("linear", "Linear is not a model"),
    ],
)
def test_model_that_cannot_be_patched_is_refused(directory: Path, kind: str, says: str):
    model = wrong(directory, kind)
    circuit = Circuit.full(Topology(2, 2, has_mlp=True))
    with pytest.raises(InvalidInput) as caught, patch_model(circuit, model, CORRUPTED):
        pass
    assert says in str(caught.value)


def test_architecture_that_the_engine_does_not_reproduce_is_refused():
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    config: Any = OpenAIGPTConfig(vocab_size=23, n_embd=16, n_layer=1, n_head=2)
    model = OpenAIGPTLMHeadModel(config).eval()
    circuit = Circuit.full(Topology(1, 2, has_mlp=True))
    with (
        pytest.raises(UnsupportedModel, match="OpenAIGPTLMHeadModel"),
        patch_model(circuit, model, CORRUPTED),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, InvalidInput, "corrupted ablation of this circuit needs corrupted tokens"),
        ({"corrupted": CORRUPTED[0]}, InvalidInput, "not a batch of token ids"),
        ({"corrupted": "John"}, InvalidInput, "str is not a batch of token ids"),
        ({"corrupted": CORRUPTED.float()}, InvalidInput, "not a batch of token ids"),
        ({"corrupted": CORRUPTED + 50}, PromptError, "outside the model's vocabulary"),
        ({"corrupted": CORRUPTED, "ablation": "means"}, UnknownName, "did you mean 'mean'"),
    ],
)
def test_wrong_argument_is_named(
    directory: Path, arguments: dict[str, Any], error: type[Exception], says: str
):
    model = hugging_face(directory)
    with pytest.raises(error) as caught, patch_model(half_of(model), model, **arguments):
        pass
    assert says in str(caught.value)
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_circuit_of_another_graph_is_refused_naming_both(directory: Path):
    circuit = Circuit.full(Topology(2, 4, has_mlp=False))
    with pytest.raises(GraphError) as caught, patch_model(circuit, hugging_face(directory), CLEAN):
        pass
    assert "2 layers x 4 heads, no MLPs, and the model has 2 layers x 2 heads, MLPs" in str(
        caught.value
    )
