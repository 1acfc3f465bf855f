"""Checkpoints of every layout become models with the logits of the module that was saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from acdc_pipeline.engine.forward import run_sources, unembed
from acdc_pipeline.models import load_model
from acdc_pipeline.workflows.model_conversion import Conversion, convert_model
from tests.checkpoint_layouts import (
    Grokking,
    Hooked,
    LectureGpt,
    MinGpt2020,
    NanoGpt,
    randomize,
    rotary_tables,
)

Case = tuple[Callable[[], nn.Module], str, dict[str, Any], float]

# RMS norms and rotary tables of TransformerLens's module are float32 whatever the model's type.
EXACT, SINGLE = 1e-10, 1e-5

CASES: dict[str, Case] = {
    "nanogpt": (lambda: NanoGpt(heads=4), "nanogpt", {"n_heads": 4, "act_fn": "gelu"}, EXACT),
    "nanogpt without biases": (
        lambda: NanoGpt(heads=2, bias=False),
        "nanogpt",
        {"d_head": 4, "act_fn": "gelu"},
        EXACT,
    ),
    "mingpt": (lambda: MinGpt2020(heads=2), "mingpt-2020", {"n_heads": 2, "act_fn": "gelu"}, EXACT),
    "lecture": (LectureGpt, "gpt-lecture", {"act_fn": "relu"}, EXACT),
    "grokking": (Grokking, "grokking", {"act_fn": "ReLU"}, EXACT),
    "grokking, fewer outputs": (
        lambda: Grokking(written=7),
        "grokking",
        {"act_fn": "relu"},
        EXACT,
    ),
    # d_model = d_vocab: the embedding alone does not tell whether it is transposed
    "grokking, square": (lambda: Grokking(p=7, d=8), "grokking", {"act_fn": "relu"}, EXACT),
    "hooked": (Hooked, "transformer-lens", {"act_fn": "gelu_new"}, EXACT),
    "hooked, more outputs": (
        lambda: Hooked(vocab_out=13),
        "transformer-lens",
        {"act_fn": "gelu_new"},
        EXACT,
    ),
    "hooked, attention only": (lambda: Hooked(attn_only=True), "transformer-lens", {}, EXACT),
    "hooked, no norm": (
        lambda: Hooked(norm=None, attn_only=True),
        "transformer-lens",
        {"normalization_type": None},
        EXACT,
    ),
    "hooked, folded norm": (
        lambda: Hooked(norm="LNPre"),
        "transformer-lens",
        {"normalization_type": "LNPre", "act_fn": "gelu_new"},
        SINGLE,
    ),
    "hooked, scores not scaled": (
        lambda: Hooked(scale=1.0),
        "transformer-lens",
        {"use_attn_scale": False, "act_fn": "gelu_new"},
        EXACT,
    ),
    "hooked, llama-like": (
        lambda: Hooked(norm="RMS", rotary=4, gated=True, kv=1),
        "transformer-lens",
        {"positional_embedding_type": "rotary", "rotary_dim": 4, "act_fn": "silu"},
        SINGLE,
    ),
    "easy-transformer": (
        lambda: Hooked(norm=None, transposed=True),
        "easy-transformer",
        {"normalization_type": None, "act_fn": "gelu_new"},
        EXACT,
    ),
}


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict under the names of the layout: `m.` is only of the oracles."""
    return {name.removeprefix("m."): tensor for name, tensor in module.state_dict().items()}


def converted(tmp_path: Path, content: Any, **arguments: Any) -> Conversion:
    torch.save(content, tmp_path / "model.pth")
    return convert_model(tmp_path / "model.pth", tmp_path / "out", **{"options": {}, **arguments})


def require_same_logits(module: Any, folder: Path, tolerance: float, dtype: str) -> None:
    generator = torch.Generator().manual_seed(1)
    model = load_model(f"dir:{folder}", dtype=dtype, device="cpu")
    pos = min(9, model.weights.n_ctx)
    tokens = torch.randint(model.weights.w_e.shape[0], (3, pos), generator=generator)
    with torch.no_grad():
        expected = module(tokens)
        ours = unembed(model.weights, run_sources(model.weights, tokens).final)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(model.reference_logits(tokens), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_convert_checkpoint_keeps_the_logits_of_its_module(name: str, tmp_path: Path):
    make, layout, options, tolerance = CASES[name]
    module = randomize(make())
    done = converted(tmp_path, {"model": state_of(module), "epoch": 3}, options=options)
    assert done.built is not None
    assert (done.built.layout.name, done.dtype) == (layout, "float64")
    require_same_logits(module, done.directory, tolerance, "float64")


def test_convert_checkpoint_float32_keeps_the_logits(tmp_path: Path):
    module = randomize(NanoGpt(heads=4), dtype=torch.float32)
    done = converted(tmp_path, state_of(module), options={"n_heads": 4, "act_fn": "gelu"})
    require_same_logits(module, done.directory, 1e-5, "float32")


def test_convert_checkpoint_wrapped_compiled_and_with_arguments_needs_no_options(tmp_path: Path):
    module = randomize(NanoGpt(heads=4))
    state = {f"_orig_mod.module.{name}": tensor for name, tensor in state_of(module).items()}
    arguments = {
        "n_layer": 2,
        "n_head": 4,
        "n_embd": 8,
        "block_size": 16,
        "vocab_size": 11,
        "bias": True,
        "dropout": 0.0,
        "act_fn": "gelu",
    }
    content = {"model": state, "model_args": arguments, "config": {"lr": 1e-3}, "optimizer": {}}
    done = converted(tmp_path, content)
    assert done.built is not None
    assert done.built.model.facts["n_heads"].source == "checkpoint (model_args)"
    assert done.built.dropped == ("transformer.h.0.attn.bias", "transformer.h.1.attn.bias")
    require_same_logits(module, done.directory, EXACT, "float64")


def test_convert_arrays_and_safetensors_give_the_same_files_as_pickles(tmp_path: Path):
    state = state_of(randomize(Grokking()))
    arrays: dict[str, Any] = {name: t.numpy() for name, t in state.items()}
    np.savez(tmp_path / "m.npz", **arrays)
    save_file({name: t.contiguous() for name, t in state.items()}, tmp_path / "m.safetensors")
    options = {"act_fn": "relu"}
    first = converted(tmp_path, state, options=options).directory
    for name in ("m.npz", "m.safetensors"):
        other = tmp_path / f"{name}-out"
        convert_model(tmp_path / name, other, options=options)
        for file in ("config.json", "model.safetensors"):
            assert (other / file).read_bytes() == (first / file).read_bytes()


def test_convert_snapshot_of_a_run_takes_the_state_dict_at_the_key(tmp_path: Path):
    early, late = randomize(Grokking(), 1), randomize(Grokking(), 2)
    content = {"state_dicts": [state_of(early), state_of(late)], "epochs": [0, 100]}
    done = converted(tmp_path, content, options={"act_fn": "relu"}, key="state_dicts.1")
    require_same_logits(late, done.directory, EXACT, "float64")


def test_convert_model_without_positions_has_none(tmp_path: Path):
    module = randomize(Hooked(attn_only=True))
    nn.init.zeros_(module.m.pos_embed.W_pos)
    state = {n: t for n, t in state_of(module).items() if n != "pos_embed.W_pos"}
    done = converted(tmp_path, state, options={"positional_embedding_type": "none"})
    assert done.built is not None
    assert done.built.model.facts["n_ctx"].value == 14  # the causal mask's
    require_same_logits(module, done.directory, EXACT, "float64")


def test_convert_gpt2_of_transformers_without_its_config(tmp_path: Path):
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_layer": 2, "n_head": 4, "n_embd": 8, "vocab_size": 11, "n_positions": 10}
    whole = {"attn_implementation": "eager", "bos_token_id": 0, "eos_token_id": 0}
    model = randomize(GPT2LMHeadModel(GPT2Config(**sizes, **whole)).eval())
    state = {n: t for n, t in model.state_dict().items() if n != "lm_head.weight"}  # it is tied
    done = converted(tmp_path, state, options={"n_heads": 4, "act_fn": "gelu_new"})
    assert done.built is not None
    assert done.built.layout.name == "gpt2"
    assert "stores no unembedding" in done.built.model.changed[0]
    require_same_logits(lambda tokens: model(tokens).logits, done.directory, EXACT, "float64")


@pytest.mark.parametrize(
    ("options", "divisor", "source"),
    [({}, 2.0, "assumed"), ({"attn_scale": 3.0}, 3.0, "option")],  # heads are 4 wide
)
def test_convert_names_the_scale_of_scores_and_where_it_is_from(
    options: dict[str, Any], divisor: float, source: str, tmp_path: Path
):
    done = converted(tmp_path, state_of(LectureGpt()), options={"act_fn": "relu", **options})
    assert done.built is not None
    scale = done.built.model.facts["attn_scale"]
    assert (scale.value, scale.source) == (divisor, source)
    assert "attn_scale" not in done.built.model.config


def test_convert_rotary_tables_tell_the_positions(tmp_path: Path):
    module = randomize(Hooked(rotary=4, attn_only=True))
    done = converted(tmp_path, state_of(module) | rotary_tables(2, 14, 4))
    assert done.built is not None
    facts = done.built.model.facts
    assert (facts["rotary_dim"].value, facts["n_ctx"].value) == (4, 14)
    require_same_logits(module, done.directory, SINGLE, "float64")
