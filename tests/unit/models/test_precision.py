"""16-bit weights: held narrow, computed wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from acdc_pipeline.algorithms import AcdcResult, acdc
from acdc_pipeline.engine import parity_error, set_up
from acdc_pipeline.engine.forward import run_sources, unembed
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import circuit_logprobs, objective_for
from acdc_pipeline.models import LoadedModel, load_model
from tests import checkpoints, tiny_models
from tests.prompt_sets import random_prompts

PROMPTS = random_prompts(3, 6, checkpoints.VOCAB, seed=5)
NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def _round_checkpoint(directory: Path, dtype: torch.dtype) -> None:
    """What a 16-bit model is: the same file with every number rounded."""
    for file in directory.glob("*.safetensors"):
        tensors = load_file(file)
        rounded = {name: tensor.to(dtype).float() for name, tensor in tensors.items()}
        save_file(rounded, file, metadata={"format": "pt"})


def _search(model: LoadedModel) -> AcdcResult:
    bench = set_up(model.weights, PROMPTS, "corrupted")
    with torch.no_grad():
        return acdc(
            bench.search(objective_for(bench, "kl"), memory=2**30),
            model.topology,
            threshold=0.05,
            order="reverse-heads",
            difference="signed",
        )


def _load(directory: Path, dtype: str) -> LoadedModel:
    return load_model(f"dir:{directory}", dtype=dtype, device="cpu")


@pytest.mark.parametrize("name", checkpoints.EVERY)
def test_matrices_are_held_in_16_bits_and_logits_are_the_original_s(name: str):
    model = tiny_models.loaded(name, "bfloat16")
    attn = model.weights.blocks[0].attention
    assert {matrix.dtype for matrix in (attn.w_q, attn.w_k, attn.w_v)} == {torch.bfloat16}
    assert model.weights.dtype is torch.float32
    assert parity_error(model, PROMPTS.clean, PROMPTS.lengths) < 3e-6


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", checkpoints.HUGGING_FACE)
def test_logits_are_those_of_hugging_face_with_rounded_weights(name: str, dtype: str):
    weights = tiny_models.weights(name, dtype)
    folder = tiny_models.folder(name)
    original: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for parameter in original.parameters():
            parameter.copy_(parameter.to(NARROW[dtype]))
        theirs = original(PROMPTS.clean).logits
        ours = unembed(weights, run_sources(weights, PROMPTS.clean).final)
    assert (ours - theirs).abs().max() < 3e-6 * theirs.abs().max()


@pytest.mark.parametrize("name", ["gpt2", "llama", "native-ln", "gemma2"])
def test_a_search_is_that_of_the_rounded_model_to_the_bit(name: str, tmp_path: Path):
    directory = checkpoints.EVERY[name](tmp_path / name)
    narrow = _load(directory, "bfloat16")
    _round_checkpoint(directory, torch.bfloat16)
    wide = _load(directory, "float32")
    ours, theirs = _search(narrow), _search(wide)
    assert ours.decisions == theirs.decisions
    edges = ours.circuit.edges
    benches = [set_up(model.weights, PROMPTS, "corrupted") for model in (narrow, wide)]
    a, b = (circuit_logprobs(bench, edges) for bench in benches)
    assert torch.equal(a, b)


# q, k and v of the second are separate in the loaded model
@pytest.mark.parametrize("tensor", ["transformer.wte.weight", "transformer.h.1.attn.c_attn.weight"])
def test_weights_too_large_for_float16_are_refused_by_name(tmp_path: Path, tensor: str):
    directory = checkpoints.gpt2(tmp_path / "m")
    file = next(directory.glob("*.safetensors"))
    tensors = load_file(file)
    tensors[tensor][0, 0] = 1e6
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(InvalidInput, match=r"1e\+06.*too large for float16") as error:
        _load(directory, "float16")
    assert error.value.problem.startswith(f"'{tensor}' holds 1e+06")
    assert "bfloat16" in str(error.value)
