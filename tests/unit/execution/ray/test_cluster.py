"""Whether a worker profile fits on the nodes of a cluster, and whether the cluster may grow."""

from __future__ import annotations

import json

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.ray.cluster import (
    actor_options,
    check_device,
    check_profile,
    describe_room,
    is_autoscaled,
    resources_of,
    workers_on,
)
from acdc_pipeline.specs import WorkerProfile

GB = 2**30


def profile(
    *,
    actors: int = 1,
    cpus: float = 1,
    gpus: float = 0,
    shards: int | None = None,
    memory: int | None = None,
) -> WorkerProfile:
    return WorkerProfile(
        executor="ray",
        actors=actors,
        cpus=cpus,
        gpus=gpus,
        shards=shards,
        memory=memory,
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
    assert workers_on(node, {"CPU": float(cpus), "GPU": float(gpus)}) == room


def test_memory_limits_the_workers_on_a_node_that_counts_it():
    each = {"CPU": 1.0, "memory": 3.0 * GB}
    assert workers_on({"CPU": 8.0, "memory": 10.0 * GB}, each) == 3
    assert workers_on({"CPU": 2.0, "memory": 10.0 * GB}, each) == 2
    assert workers_on({"CPU": 8.0}, each) == 8


def test_memory_is_requested_for_workers_without_a_gpu_only():
    place = profile(cpus=2, memory=3 * GB)
    assert resources_of(place) == {"CPU": 2, "memory": 3 * GB}
    assert actor_options(resources_of(place))["memory"] == 3 * GB
    assert resources_of(profile(gpus=0.5, memory=3 * GB)) == {"CPU": 1, "GPU": 0.5}
    assert "memory" not in actor_options(resources_of(profile()))


@pytest.mark.parametrize(("actors", "fitting"), [(2, 2), (3, 3), (8, 3)])
def test_check_profile_returns_how_many_of_its_actors_fit(actors: int, fitting: int):
    nodes = [{"CPU": 4.0}, {"CPU": 2.0}]
    place = profile(actors=actors, cpus=2)
    assert check_profile(place, nodes, "here") == fitting


def test_room_for_some_actors_is_described():
    nodes = [{"CPU": 8.0, "memory": 10.0 * GB}]
    place = profile(actors=8, cpus=1, memory=3 * GB)
    assert describe_room(check_profile(place, nodes, "here"), place) == (
        "room for 3 of 8 actors, with 1 CPU and 3072MiB of memory: the others start when there is "
        "more"
    )
    place = profile(actors=4, shards=3)
    assert "room for 2 of 4 actors of 3 workers each, with 1 CPU" in describe_room(2, place)


def test_check_profile_without_room_for_one_says_what_is_missing():
    with pytest.raises(InvalidInput) as raised:
        check_profile(profile(actors=8, cpus=8), [{"CPU": 4.0}, {"CPU": 2.0}], "10.0.0.1:6379")
    assert str(raised.value) == (
        "10.0.0.1:6379: actors: has no room for 1 worker with 8 CPUs: 2 CPUs are missing\n"
        "allowed: 0 on 1 node with 4 CPUs and 0 GPUs; 1 node with 2 CPUs and 0 GPUs\n"
        "fix: ask for less in cpus and gpus of the worker profile, or add nodes"
    )
    with pytest.raises(InvalidInput, match="1024MiB of memory is missing") as raised:
        check_profile(profile(memory=3 * GB), [{"CPU": 4.0, "memory": 2.0 * GB}], "here")
    assert "in cpus, gpus and memory of" in str(raised.value.fix)


def test_check_profile_counts_every_shard_as_a_worker():
    nodes = [{"CPU": 4.0}, {"CPU": 2.0}]
    assert check_profile(profile(actors=2, shards=3), nodes, "here") == 2
    assert check_profile(profile(actors=2, shards=4), nodes, "here") == 1
    with pytest.raises(InvalidInput, match="no room for 12 workers with 1 CPU each") as raised:
        check_profile(profile(actors=2, shards=12), nodes, "here")
    assert "set shards: 6 in the" in str(raised.value.fix)


def test_check_profile_without_any_gpu_says_so():
    with pytest.raises(InvalidInput) as raised:
        check_profile(profile(actors=2, gpus=0.5), [{"CPU": 4.0}], "here")
    assert "1 worker with 1 CPU and 0.5 GPUs: 0.5 GPUs are missing" in str(raised.value)
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
