"""Workers of a machine map one copy of the weights, with the bits that each prepared itself."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_pipeline.models import node_copy
from acdc_pipeline.models.device import free_memory
from acdc_pipeline.models.hashing import hash_nested
from acdc_pipeline.models.load import LoadedModel, load_reference
from acdc_pipeline.models.node_copy import preparation_turn, share_weights
from acdc_pipeline.specs import ModelRef
from acdc_pipeline.store.locks import is_locked
from tests import tiny_models

TOKENS = torch.arange(6)[None]


@pytest.fixture(autouse=True)
def small_tensors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(node_copy, "_LEAST_TENSOR", 1)
    yield
    gc.collect()
    assert not descriptors()


def load(name: str = "gpt2", dtype: str = "float64") -> LoadedModel:
    return load_reference(ModelRef("dir", str(tiny_models.folder(name))), dtype, "cpu")


def descriptors() -> list[Path]:
    """Those of this process under which a copy is found."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor of the listing itself
            if "/memfd:acdc-" in str(link.readlink()):
                links.append(link)
    return links


def pages_of(tensor: torch.Tensor) -> str:
    """What backs the memory of a tensor."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < end:
            return line
    raise AssertionError("memory that is not mapped")


@pytest.mark.parametrize(("name", "dtype"), [("gpt2", "float64"), ("gemma2", "bfloat16")])
def test_shared_tensors_have_the_bits_and_strides_of_ones_own(name: str, dtype: str):
    plain, first, second = (load(name, dtype) for _ in range(3))
    for model in (first, second):
        assert share_weights(model, dtype, least=1) > 0
        assert hash_nested(model.weights) == hash_nested(plain.weights)
        assert torch.equal(model.reference_logits(TOKENS), plain.reference_logits(TOKENS))
        attention = model.weights.blocks[0].attention
        assert attention.w_q.stride() == plain.weights.blocks[0].attention.w_q.stride()
        assert "/memfd:acdc-" in pages_of(attention.w_q)
        assert "/memfd:acdc-" in pages_of(model.weights.w_u)
    assert len({link.stat().st_ino for link in descriptors()}) == 1


def test_copy_outlives_the_worker_that_wrote_it_and_ends_with_the_last():
    first, second = load(), load()
    for model in (first, second):
        share_weights(model, "float64", least=1)
    del first, model
    gc.collect()
    expected = hash_nested(load().weights)
    assert hash_nested(second.weights) == expected
    third = load()
    share_weights(third, "float64", least=1)
    assert len({link.stat().st_ino for link in descriptors()}) == 1
    assert hash_nested(third.weights) == expected


def test_a_write_to_a_shared_tensor_stays_in_its_worker():
    first, second = load(), load()
    for model in (first, second):
        share_weights(model, "float64", least=1)
    before = second.weights.w_u.clone()
    first.weights.w_u.zero_()
    assert torch.equal(second.weights.w_u, before)


def test_small_models_and_tensors_in_files_are_not_copied():
    assert share_weights(load(), "float64") == 0
    model = load(dtype="float32")
    share_weights(model, "float32", least=1)
    embedding = model.weights.w_e
    assert pages_of(embedding).endswith(".safetensors")


def test_half_written_copy_is_not_found(monkeypatch: pytest.MonkeyPatch):
    model = load()
    left: list[int] = []

    def die(descriptor: int, *_: Any) -> int:
        left.append(os.dup(descriptor))  # as if the writer, which dies, were still to be found
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(os, "pwrite", die)
        with pytest.raises(KeyboardInterrupt):
            share_weights(model, "float64", least=1)
    assert descriptors()
    expected = hash_nested(model.weights)
    assert share_weights(model, "float64", least=1) > 0
    assert hash_nested(model.weights) == expected
    os.close(left[0])


def test_without_room_a_worker_keeps_its_own_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    model = load()
    expected = hash_nested(model.weights)
    assert share_weights(model, "float64", least=1) == 0
    assert hash_nested(model.weights) == expected
    assert "this worker keeps its own" in caplog.text
    assert os.strerror(errno.ENOSPC) in caplog.text


def test_tensor_that_differs_from_the_copy_stays(caplog: pytest.LogCaptureFixture):
    first, second = load(), load()
    share_weights(first, "float64", least=1)
    second.weights.w_u[0, 0] += 1
    expected = hash_nested(second.weights)
    share_weights(second, "float64", least=1)
    assert hash_nested(second.weights) == expected
    assert "unlike another" in caplog.text


def test_workers_prepare_one_after_the_other_where_memory_is_short():
    waiting, free = node_copy._lock_folder() / "preparing.lock", free_memory(torch.device("cpu"))
    with preparation_turn(free // 100):
        assert not is_locked(waiting)
    with preparation_turn(free // 2):
        assert is_locked(waiting)
    assert not is_locked(waiting)


def test_copy_cannot_be_changed():
    model = load()
    share_weights(model, "float64", least=1)
    (link,) = descriptors()
    writable = os.open(link, os.O_RDWR)
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(writable, b"1", 0)
    os.close(writable)
