"""Whether a worker profile fits on the nodes of a cluster, and whether the cluster may grow."""

from __future__ import annotations

import json

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.ray.cluster import (
    check_device,
    check_profile,
    is_autoscaled,
    workers_on,
)
from acdc_pipeline.specs import WorkerProfile


def profile(
    *, actors: int = 1, cpus: float = 1, gpus: float = 0, shards: int | None = None
) -> WorkerProfile:
    return WorkerProfile(
        executor="ray",
        actors=actors,
        cpus=cpus,
        gpus=gpus,
        shards=shards,
        dtype="float32",
        attempts=4,
        checkpoint=60,
    )


@pytest.mark.parametrize(
    ("node", "cpus", "gpus", "room"),
    [
        ({"CPU": 8.0}, 1, 0, 8),
        ({"CPU": 8.0}, 3, 0, 2),
        ({"CPU": 1.0}, 0.1, 0, 10),
        ({"CPU": 0.5}, 1, 0, 0),
        ({"memory": 1e9}, 1, 0, 0),
        ({"CPU": 16.0, "GPU": 4.0}, 1, 1, 4),
        ({"CPU": 2.0, "GPU": 4.0}, 1, 1, 2),
        ({"CPU": 16.0, "GPU": 4.0}, 1, 2, 2),
        ({"CPU": 16.0, "GPU": 2.0}, 1, 0.5, 4),
        # Of one GPU only one part of 0.6 can be had: a part is never spread over two GPUs.
        ({"CPU": 16.0, "GPU": 2.0}, 1, 0.6, 2),
        ({"CPU": 16.0, "GPU": 1.0}, 1, 0.1, 10),
    ],
)
def test_workers_on_node(node: dict[str, float], cpus: float, gpus: float, room: int):
    assert workers_on(node, float(cpus), float(gpus)) == room


def test_check_profile_that_fits_exactly_passes():
    check_profile(profile(actors=3, cpus=2), [{"CPU": 4.0}, {"CPU": 2.0}], "here")


def test_check_profile_with_too_few_cpus_says_how_many_are_missing_and_what_fits():
    with pytest.raises(InvalidInput) as raised:
        check_profile(profile(actors=8, cpus=2), [{"CPU": 4.0}, {"CPU": 4.0}], "10.0.0.1:6379")
    assert str(raised.value) == (
        "10.0.0.1:6379: actors: has no room for 8 workers with 2 CPUs each: 8 CPUs are missing\n"
        "allowed: 4 on 2 nodes with 4 CPUs and 0 GPUs\n"
        "fix: set actors: 4 in the worker profile, or add nodes"
    )


@pytest.mark.parametrize(
    ("shards", "fix"), [(4, "set actors: 1 in the"), (12, "set shards: 6 in the")]
)
def test_check_profile_counts_every_shard_as_a_worker(shards: int, fix: str):
    nodes = [{"CPU": 4.0}, {"CPU": 2.0}]
    check_profile(profile(actors=2, shards=3), nodes, "here")
    with pytest.raises(InvalidInput, match=f"no room for {2 * shards} workers") as raised:
        check_profile(profile(actors=2, shards=shards), nodes, "here")
    assert fix in str(raised.value.fix)


def test_check_profile_without_any_gpu_says_so():
    with pytest.raises(InvalidInput) as raised:
        check_profile(profile(actors=2, gpus=0.5), [{"CPU": 4.0}], "here")
    assert "2 workers with 1 CPU and 0.5 GPUs each: 1 GPU is missing" in str(raised.value)
    assert raised.value.fix is not None
    assert raised.value.fix.startswith("ask for less in cpus and gpus")


def test_check_profile_with_enough_in_all_but_on_no_node_is_refused():
    with pytest.raises(InvalidInput, match="not in the right places") as raised:
        check_profile(profile(actors=1, cpus=4), [{"CPU": 2.0}, {"CPU": 2.0}], "here")
    assert raised.value.allowed == "0 on 2 nodes with 2 CPUs and 0 GPUs"


@pytest.mark.parametrize(("device", "gpus"), [("auto", 0), ("cpu", 1), ("cuda", 1), ("mps", 0)])
def test_check_device_that_the_profile_provides_passes(device: str, gpus: float):
    check_device(profile(gpus=gpus), device)


def test_check_device_of_several_gpus_needs_as_many_in_the_profile():
    check_device(profile(gpus=2), "cuda:0-1")
    with pytest.raises(InvalidInput, match="names 3 GPUs") as raised:
        check_device(profile(gpus=2), "cuda:0,1,2")
    assert raised.value.fix == "set gpus: 3 in the worker profile"


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_check_device_cuda_without_a_gpu_in_the_profile_is_refused(device: str):
    with pytest.raises(InvalidInput, match="the worker profile requests none"):
        check_device(profile(gpus=0), device)


def status(active: dict[str, int] | None) -> bytes:
    return json.dumps({"time": 0.0, "autoscaler_report": {"active_nodes": active}}).encode()


@pytest.mark.parametrize(
    ("found", "autoscaled"),
    [
        (None, False),
        (b"", False),
        (json.dumps({"time": 0.0}).encode(), False),
        (status(None), False),
        (status({}), False),
        # Ray watches nodes that somebody started by hand under names of its own.
        (status({"node_cc7d24": 1, "node_99": 1}), False),
        (status({"headgroup": 1}), True),
        (status({"ray.head.default": 1, "ray.worker.gpu": 3}), True),
    ],
)
def test_is_autoscaled(found: bytes | None, autoscaled: bool):
    assert is_autoscaled(found) == autoscaled
