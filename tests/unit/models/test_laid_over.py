"""Models whose layers are laid over several devices: where they are, and the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from acdc_pipeline.engine import set_up
from acdc_pipeline.errors import InvalidInput, OutOfMemoryBudget
from acdc_pipeline.models import load_model
from acdc_pipeline.models.device import resolve_device, resolve_devices, resolve_dtype
from acdc_pipeline.models.hashing import hash_nested
from acdc_pipeline.models.laid_over import assign_layers, count_bytes, lay_over, transfer
from acdc_pipeline.models.mapped import MappedBlocks
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.names import check_device, device_indices
from tests.every_class import EVERY_CLASS
from tests.hugging_face_models import VOCAB
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of
from tests.tiny_models import loaded
from tests.tiny_models import weights as tiny_weights

CPU, META = torch.device("cpu"), torch.device("meta")
PROMPTS = random_prompts(3, 6, VOCAB, seed=2)


def laid(weights: TransformerWeights, dtype: str, rooms: list[int]) -> TransformerWeights:
    devices = [CPU] * len(rooms)
    return lay_over(weights, resolve_dtype(dtype), devices, rooms, where="here")


@pytest.mark.parametrize(
    ("name", "indices"),
    [
        ("cpu", ()),
        ("cuda", ()),
        ("cuda:1", (1,)),
        ("cuda:0-3", (0, 1, 2, 3)),
        ("cuda:0,2", (0, 2)),
        ("cuda:3,0-1", (3, 0, 1)),
    ],
)
def test_names_of_devices_hold_their_indices_in_order(name: str, indices: tuple[int, ...]):
    check_device(name)
    assert device_indices(name) == indices


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("cuda:3-1", "runs backwards"),
        ("cuda:0,0", "twice"),
        ("cuda:0-2,1", "twice"),
        ("cuda:0-", "cuda:0-3, cuda:0,2"),
        ("cuda:,1", "cuda:0-3, cuda:0,2"),
        ("cpu:0-1", "cuda:0-3, cuda:0,2"),
        ("cuda:0;1", "cuda:0-3, cuda:0,2"),
    ],
)
def test_names_that_are_no_devices_are_refused(name: str, problem: str):
    with pytest.raises(InvalidInput) as raised:
        check_device(name)
    assert problem in f"{raised.value} {raised.value.allowed}"


def test_devices_are_resolved_in_order_and_too_few_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert resolve_devices("cuda:2,0") == (torch.device("cuda", 2), torch.device("cuda", 0))
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InvalidInput, match=r"'cuda:0-3'.* 3 CUDA"):
        resolve_devices("cuda:0-3")
    with pytest.raises(InvalidInput, match="one is needed"):
        resolve_device("cuda:0-1")


@pytest.mark.parametrize(
    ("sizes", "rooms", "homes"),
    [
        ([2, 2, 2, 2], [10, 5, 3], [1, 1, 2, 0]),  # others first, the last layers on the first
        ([2, 2, 2], [0, 4, 2], [1, 1, 2]),
        ([2, 2, 2], [1, 4, 1], None),
        ([3, 1, 1], [3, 2, 9], [2, 2, 2]),  # in their order, device after device
        ([1], [1], [0]),
    ],
)
def test_layers_are_assigned_by_bytes(sizes: list[int], rooms: list[int], homes: list[int] | None):
    assert assign_layers(sizes, rooms) == homes


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_laid_over_models_have_the_bits_of_those_on_one_device(name: str, dtype: str):
    one = loaded(name, dtype, layers=4).weights
    layer = max(count_bytes(block) for block in one.blocks)
    several = laid(one, dtype, [10**9, 2 * layer, layer])
    assert isinstance(several.blocks, MappedBlocks)
    assert hash_nested(several) == hash_nested(one)
    ours, theirs = (
        scores_of("eap-ig-inputs", set_up(weights, PROMPTS, "corrupted"))
        for weights in (several, one)
    )
    assert ours == theirs


def test_layers_of_the_first_device_are_not_copied():
    one = tiny_weights("llama", "float32", layers=4)
    layer = max(count_bytes(block) for block in one.blocks)
    several = laid(one, "float32", [10**9, 2 * layer]).blocks
    assert isinstance(several, MappedBlocks)
    assert several.read_share == pytest.approx(0.5)
    assert several[3].attention.w_q is several[3].attention.w_q


def test_weights_that_exceed_all_devices_are_refused():
    one = tiny_weights("llama", "float32", layers=4)
    with pytest.raises(OutOfMemoryBudget, match="2 devices have room"):
        laid(one, "float32", [1000, 1000])


BY_CLASS = {tiny.name: tiny for tiny in EVERY_CLASS}


@pytest.mark.parametrize(
    "name", ["MixtralForCausalLM", "Qwen3NextForCausalLM", "DeepseekV3ForCausalLM"]
)
def test_every_tensor_of_a_layer_moves_to_the_device_of_the_layer(name: str, tmp_path: Path):
    model = load_model(f"dir:{BY_CLASS[name].save(tmp_path / 'model')}", device="cpu")
    for block in model.weights.blocks:
        there = transfer(block, META)
        assert {tensor.device.type for tensor in tensors(there)} == {"meta"}
        assert count_bytes(there) == count_bytes(block)
        # what is there already stays itself
        assert [id(t) for t in tensors(transfer(block, CPU))] == [id(t) for t in tensors(block)]


def tensors(item: Any) -> Iterator[Tensor]:
    """All tensors of nested dataclasses and tuples, with those of modules."""
    if isinstance(item, Tensor):
        yield item
    elif isinstance(item, nn.Module):
        yield from item.parameters()
        yield from item.buffers()
    elif isinstance(item, tuple):
        for part in item:
            yield from tensors(part)
    elif is_dataclass(item) and not isinstance(item, type):
        for field in fields(item):
            yield from tensors(getattr(item, field.name))
