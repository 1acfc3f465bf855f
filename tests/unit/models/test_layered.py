"""Models whose layers stay in their files: the same tensors, results and logits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench, parity_error, set_up
from acdc_pipeline.engine.forward import run_sources
from acdc_pipeline.errors import InvalidInput, OutOfMemoryBudget, UnsupportedModel
from acdc_pipeline.evaluation import circuit_logprobs, objective_for
from acdc_pipeline.heads.random_weights import random_models
from acdc_pipeline.heads.task_scores import task_scores
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.models.architectures.by_modules import BY_MODULES
from acdc_pipeline.models.device import resolve_dtype
from acdc_pipeline.models.hashing import hash_nested
from acdc_pipeline.models.layered import (
    count_weight_bytes,
    layered_architecture,
    load_layered,
    refuse_too_large,
)
from acdc_pipeline.models.load import load_reference
from acdc_pipeline.models.mapped import MappedBlocks
from acdc_pipeline.models.mixtures import split_experts
from acdc_pipeline.models.weight_sizes import measure_weights
from acdc_pipeline.models.weights import TokenModule
from acdc_pipeline.specs.model_ref import ModelRef
from acdc_pipeline.specs.profile import bytes_of
from tests.checkpoints import randomised
from tests.every_class import EVERY_CLASS
from tests.float64 import Float64Throughout
from tests.hugging_face_models import VOCAB
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of

PROMPTS = random_prompts(3, 6, VOCAB, seed=2)
BY_CLASS = {tiny.name: tiny for tiny in EVERY_CLASS}
OTHERS = ("MixtralForCausalLM", "Qwen3NextForCausalLM", "GptOssForCausalLM", "BeamForCausalLM")

TEXT_PARTS = ("LlavaForConditionalGeneration", "MllamaForConditionalGeneration")


def both(folder: Path, dtype: str = "float32") -> tuple[LoadedModel, LoadedModel]:
    """A model in memory, and one that the same files are read for."""
    whole = load_model(f"dir:{folder}", dtype=dtype, device="cpu")
    reference = load_reference(ModelRef.parse(f"dir:{folder}"), dtype, "cpu")
    config = reference.original.config if reference.bridge is None else None
    found = layered_architecture(config.to_dict() if config else _config(folder))
    assert found is not None
    precision = resolve_dtype(dtype)
    original, weights, read = load_layered(
        folder,
        found,
        precision=precision,
        device=torch.device("cpu"),
        memory=measure_weights(folder, found).least_memory(precision, on_cpu=True),
        where="here",
    )
    return whole, replace(
        whole, weights=weights, bridge=None, original=original, read_per_pass=read
    )


def _config(folder: Path) -> dict[str, Any]:
    import json

    return json.loads((folder / "config.json").read_text())


def deep_llama(layers: int = 8) -> Any:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=12,
        )
    )


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return randomised(deep_llama(), tmp_path / "llama")


@pytest.mark.parametrize("name", [*sorted(BY_MODULES), *OTHERS, *TEXT_PARTS])
def test_layers_in_files_have_the_tensors_of_those_in_memory(name: str, tmp_path: Path):
    whole, layered = both(BY_CLASS[name].save(tmp_path / "model"))
    assert layered.is_layered
    assert not whole.is_layered
    for ours, theirs in zip(layered.weights.blocks, whole.weights.blocks, strict=True):
        # Modules of mixtures and mixers hold their parameters only while they run.
        plain = replace(ours, mlp=None) if isinstance(ours.mlp, TokenModule) else ours
        other = replace(theirs, mlp=None) if isinstance(theirs.mlp, TokenModule) else theirs
        assert hash_nested(replace(plain, mixer=None)) == hash_nested(replace(other, mixer=None))
    for field in ("w_e", "w_pos", "norm_final", "w_u", "b_u"):
        ours, theirs = (getattr(model.weights, field) for model in (layered, whole))
        assert hash_nested(ours) == hash_nested(theirs)
    assert layered.topology == whole.topology
    lengths = torch.full((3,), 6)
    assert parity_error(layered, PROMPTS.clean, lengths) < 1e-5


def test_layered_results_are_the_same_to_the_bit(llama: Path):
    whole, layered = both(llama)
    benches = [set_up(model.weights, PROMPTS, "corrupted") for model in (whole, layered)]
    for method in ("eap", "eap-ig-inputs", "exact"):
        ours, theirs = (scores_of(method, bench) for bench in benches)
        assert ours == theirs
    first, second = (_search(bench) for bench in benches)
    assert first == second
    kept = layered.topology.edge_set - set(layered.topology.edges[::3])
    ours, theirs = (circuit_logprobs(bench, kept) for bench in benches)
    assert torch.equal(ours, theirs)


def _search(bench: Bench) -> Any:
    return acdc(
        bench.search(objective_for(bench, "kl"), memory=2**30),
        bench.weights.topology,
        threshold=0.01,
        order="reverse-heads",
        difference="signed",
    )


def test_random_models_of_layered_ones_are_the_same(llama: Path):
    whole, layered = both(llama)
    for ours, theirs in zip(*(random_models(m.weights, 3) for m in (layered, whole)), strict=True):
        for block, other in zip(ours.blocks, theirs.blocks, strict=True):
            assert hash_nested(block) == hash_nested(other)
        assert torch.equal(ours.w_u, theirs.w_u)
        assert torch.equal(
            run_sources(ours, PROMPTS.clean).final, run_sources(theirs, PROMPTS.clean).final
        )


def test_head_scores_of_layered_models_are_the_same_to_the_bit(llama: Path):
    whole, layered = both(llama)
    ours, theirs = (task_scores(m.weights, PROMPTS, memory=2**26) for m in (layered, whole))
    assert ours.samples.keys() == theirs.samples.keys()
    for name, samples in ours.samples.items():
        np.testing.assert_array_equal(samples, theirs.samples[name])


def test_random_models_of_layered_mixtures_are_refused(tmp_path: Path):
    _, layered = both(BY_CLASS["MixtralForCausalLM"].save(tmp_path / "model"))
    with pytest.raises(UnsupportedModel, match="random weights"):
        next(random_models(layered.weights, 0))


def test_layered_mixtures_have_the_scores_of_those_in_memory(tmp_path: Path):
    whole, layered = both(BY_CLASS["MixtralForCausalLM"].save(tmp_path / "model"), "float64")
    with Float64Throughout():
        ours, theirs = (
            scores_of("eap", set_up(model.weights, PROMPTS, "corrupted"))
            for model in (layered, whole)
        )
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_load_reference_reads_layers_of_a_model_beyond_the_memory(llama: Path):
    needed = count_weight_bytes(llama, resolve_dtype("float32"))
    ref = ModelRef.parse(f"dir:{llama}")
    assert not load_reference(ref, "float32", "cpu", needed).is_layered
    assert not load_reference(ref, "float32", "cpu").is_layered
    assert load_reference(ref, "float32", "cpu", needed - 1).is_layered


def test_count_weight_bytes_are_those_of_the_parameters(llama: Path):
    parameters = sum(p.numel() for p in deep_llama().parameters())
    assert count_weight_bytes(llama, resolve_dtype("float32")) == 4 * parameters
    assert count_weight_bytes(llama, resolve_dtype("bfloat16")) == 2 * parameters


def test_count_weight_bytes_of_a_damaged_file_names_it(llama: Path):
    file = llama / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InvalidInput, match=r"model\.safetensors: cannot be read") as raised:
        load_reference(ModelRef.parse(f"dir:{llama}"), "float32", "cpu", 10**9)
    assert "damaged" in (raised.value.fix or "")


def test_a_budget_too_small_is_refused_before_loading_and_the_least_is_named(
    llama: Path, monkeypatch: pytest.MonkeyPatch
):
    ref = ModelRef.parse(f"dir:{llama}")
    # embeddings twice (the model's own, and the engine's), three layers; as much for the search
    layer = sum(p.numel() for p in deep_llama().model.layers[0].parameters())
    around = sum(p.numel() for p in deep_llama().parameters()) - 8 * layer
    least = 2 * 4 * (2 * around + 3 * layer)
    with monkeypatch.context() as patched:
        patched.setattr("acdc_pipeline.models.layered.load_module", None)  # nothing is read
        with pytest.raises(OutOfMemoryBudget) as raised:
            load_reference(ref, "float32", "cpu", least - 1)
    named = re.search(r"at least (\w+)", raised.value.fix or "")
    assert named is not None
    assert least <= bytes_of(named[1]) <= 1.01 * least + 1
    assert load_reference(ref, "float32", "cpu", bytes_of(named[1])).is_layered


def test_a_budget_that_holds_the_weights_is_named_where_it_is_the_least(tmp_path: Path):
    folder = randomised(deep_llama(3), tmp_path / "llama")
    needed = count_weight_bytes(folder, resolve_dtype("float32"))
    with pytest.raises(OutOfMemoryBudget, match=f"at least {needed}"):
        load_reference(ModelRef.parse(f"dir:{folder}"), "float32", "cpu", needed - 1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_layers_in_files_have_the_tensors_and_bits_of_those_in_memory(
    llama: Path, dtype: str
):
    whole, layered = both(llama, dtype)
    for ours, theirs in zip(layered.weights.blocks, whole.weights.blocks, strict=True):
        assert ours.attention.w_q.dtype is resolve_dtype(dtype).held
        assert hash_nested(ours) == hash_nested(theirs)
    scores = [
        scores_of("eap", set_up(model.weights, PROMPTS, "corrupted")) for model in (layered, whole)
    ]
    assert scores[0] == scores[1]
    assert parity_error(layered, PROMPTS.clean, torch.full((3,), 6)) < 1e-5


def test_a_value_too_large_for_float16_in_a_layer_in_files_is_named(tmp_path: Path):
    model = deep_llama(14)
    folder = randomised(model, tmp_path / "llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = 1e6
    model.save_pretrained(folder)
    memory = count_weight_bytes(folder, resolve_dtype("float16")) - 1
    with pytest.raises(InvalidInput, match=r"model\.layers\.1\.mlp\.up_proj\.weight.*float16"):
        load_reference(ModelRef.parse(f"dir:{folder}"), "float16", "cpu", memory)


def test_files_that_exceed_the_memory_and_cannot_be_read_layer_by_layer_are_refused(llama: Path):
    config = _config(llama) | {"architectures": ["GPTNeoXForCausalLM"]}
    with pytest.raises(OutOfMemoryBudget, match=r"GPTNeoXForCausalLM are converted all together"):
        refuse_too_large(llama, config, 1000, where="here")
    refuse_too_large(llama, config, 10**9, where="here")


def test_layered_values_that_are_not_finite_are_named(tmp_path: Path):
    model = deep_llama(10)
    folder = randomised(model, tmp_path / "llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    model.save_pretrained(folder)
    with pytest.raises(InvalidInput, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        load_reference(ModelRef.parse(f"dir:{folder}"), "float32", "cpu", 70_000)


def test_split_experts_of_layers_in_files_is_refused(tmp_path: Path):
    _, layered = both(BY_CLASS["MixtralForCausalLM"].save(tmp_path / "model"))
    with pytest.raises(UnsupportedModel, match="memory budget"):
        split_experts(layered.weights)


class Reads:
    """Blocks of one tensor each; notes which are read."""

    def __init__(self) -> None:
        self.order: list[int] = []

    def __call__(self, index: int) -> tuple[Tensor, ...]:
        self.order.append(index)
        return (torch.full((2, 2), float(index)),)


def taken(blocks: MappedBlocks[Any], order: Iterator[int] | range | list[int]) -> list[float]:
    return [float(blocks[index][0][0, 0]) for index in order]


def test_mapped_blocks_keep_the_last_ones_and_read_ahead():
    reads = Reads()
    blocks = MappedBlocks(reads, [16] * 6, 2 * 16 + 15)
    reads.order.clear()
    for _ in range(2):
        assert taken(blocks, range(6)) == [0, 1, 2, 3, 4, 5]
    blocks.settle()
    # 4 and 5 are read once; the block after 3 stays, so nothing is read ahead of it
    assert sorted(reads.order) == sorted([0, 1, 2, 3] * 2 + [4, 5])
    reads.order.clear()
    assert taken(blocks, reversed(range(6))) == [5, 4, 3, 2, 1, 0]
    blocks.settle()
    assert sorted(set(reads.order)) == [0, 1, 2]
    assert [float(block[0][0, 0]) for block in blocks] == [0, 1, 2, 3, 4, 5]
    assert blocks[-1][0][0, 0] == 5
    assert [float(block[0][0, 0]) for block in blocks[1:3]] == [1, 2]


def test_mapped_blocks_hold_no_more_than_three_in_passing():
    reads = Reads()
    blocks = MappedBlocks(reads, [16] * 6, 15)
    taken(blocks, [0, 1, 2, 3, 2, 5, 0])
    blocks.settle()
    assert len(blocks._passing) <= 1
    assert not blocks._kept


def test_mapped_blocks_shapes_have_no_values_of_matrices():
    blocks = MappedBlocks(lambda index: (torch.ones(2, 3), torch.ones(3)), [9, 9], 0)
    matrix, vector = blocks.shapes[0]
    assert matrix.is_meta
    assert matrix.shape == (2, 3)
    assert torch.equal(vector, torch.ones(3))
