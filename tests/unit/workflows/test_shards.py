"""When a worker spreads its runs over processes, and what is refused before one is started."""

from __future__ import annotations

from typing import Any

import pytest

from acdc_pipeline import discover
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.shards.local import devices_of_shards
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.models import load_model
from acdc_pipeline.workflows.shards import spread
from tests import tiny_models


def no_worker() -> Worker:
    raise AssertionError("no worker is needed")


def test_without_shards_the_worker_is_that_of_this_process():
    assert spread(no_worker, None) is no_worker


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"shards": 0}, "shards: 0 is too small"),
        ({"shards": 1001}, "shards: 1001 is too large"),
    ],
)
def test_spread_refuses_what_cannot_be_spread(given: dict[str, Any], error: str):
    with pytest.raises(InvalidInput, match=error):
        spread(no_worker, **given)


def test_discover_in_a_model_in_memory_is_not_spread():
    model = load_model(f"dir:{tiny_models.folder('gpt2')}", dtype="float32", device="cpu")
    pair = {"clean": [0, 1], "corrupted": [2, 1], "correct": 3}
    with pytest.raises(InvalidInput, match="a model in memory cannot be spread") as raised:
        discover([pair], model, threshold=0.1, shards=2)
    assert "save_pretrained" in str(raised.value.fix)


def test_gpus_are_one_for_each_worker():
    assert devices_of_shards("cuda", 3, gpus=4) == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices_of_shards("cpu", 3, gpus=4) == ["cpu"] * 3
    with pytest.raises(InvalidInput, match="3 workers need a GPU each, and this machine has 2"):
        devices_of_shards("cuda", 3, gpus=2)
    with pytest.raises(InvalidInput, match="one device each"):
        devices_of_shards("cuda:0-1", 2, gpus=4)
