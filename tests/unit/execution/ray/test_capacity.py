"""Workers chosen from the nodes of a cluster. Expected numbers are counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from ray.core.generated import autoscaler_pb2

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.ray import capacity
from acdc_pipeline.execution.ray.capacity import (
    Demand,
    describe_workers,
    nodes_at_most,
    workers_for,
)
from acdc_pipeline.specs import WorkerProfile, find_profile
from acdc_pipeline.specs.profile import AUTO

AUTOMATIC = find_profile("auto")
GB = 2**30


def numbers(profile: WorkerProfile) -> tuple[int, float, float]:
    return profile.actors, profile.cpus, profile.gpus


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([{"CPU": 1.0}], (1, 1, 0)),
        ([{"CPU": 2.0}], (1, 2, 0)),
        ([{"CPU": 8.0}, {"CPU": 5.0}], (6, 2, 0)),
        # the head of a cluster without work of its own, and a small node beside two large ones
        ([{"CPU": 0.0}, {"CPU": 4.0}, {"CPU": 4.0}, {"CPU": 1.0}], (4, 2, 0)),
        ([{"CPU": 1.0}, {"CPU": 1.0}], (2, 1, 0)),
        # one for each GPU, wherever there are any
        ([{"CPU": 16.0, "GPU": 4.0}], (4, 2, 1)),
        ([{"CPU": 64.0}, {"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0}], (2, 2, 1)),
        # fewer CPUs than GPUs: each worker takes its part
        ([{"CPU": 4.0, "GPU": 8.0}], (8, 0.5, 1)),
        # GPUs on a node that lends no CPU are out of reach
        ([{"CPU": 0.0, "GPU": 8.0}, {"CPU": 4.0}], (2, 2, 0)),
    ],
)
def test_workers_fill_the_cluster(
    nodes: list[dict[str, float]], expected: tuple[int, float, float]
):
    assert numbers(workers_for(AUTOMATIC, nodes, "here")) == expected


def test_device_cpu_leaves_the_gpus_alone():
    nodes = [{"CPU": 8.0, "GPU": 8.0}]
    assert numbers(workers_for(AUTOMATIC, nodes, "here", device="cpu")) == (4, 2, 0)


def test_shards_of_a_run_are_counted_as_one():
    profile = AUTOMATIC.model_copy(update={"shards": 3})
    assert numbers(workers_for(profile, [{"CPU": 16.0}], "here")) == (2, 2, 0)
    with pytest.raises(InvalidInput, match="has room for 2 workers") as raised:
        workers_for(profile, [{"CPU": 4.0}], "here")
    assert raised.value.fix == "set shards: 2 in the worker profile, or add nodes"


@pytest.mark.parametrize("nodes", [[], [{"CPU": 0.0}], [{"memory": 1e9}]])
def test_cluster_without_a_cpu_is_refused(nodes: list[dict[str, float]]):
    with pytest.raises(InvalidInput, match="has room for 0 workers") as raised:
        workers_for(AUTOMATIC, nodes, "http://head:8265")
    assert raised.value.exit_code == 2
    # an autoscaler may add nodes of kinds that nobody knows: each worker fits on any
    grown = workers_for(AUTOMATIC, nodes, "http://head:8265", grows=True)
    assert numbers(grown) == (8, 1, 0)


def test_memory_is_half_of_a_workers_part_in_whole_steps_of_64_mib_and_the_profiles_comes_first():
    nodes = [{"CPU": 4.0, "memory": 16.1 * GB}, {"CPU": 4.0, "memory": 16.11 * GB}]
    assert workers_for(AUTOMATIC, nodes, "here").memory == 4 * GB
    given = AUTOMATIC.model_copy(update={"memory": 3 * GB})
    assert workers_for(given, nodes, "here").memory == 3 * GB
    assert workers_for(AUTOMATIC, [{"CPU": 4.0}], "here").memory is None
    # Ray knows nothing of the memory of GPUs
    on_gpus = workers_for(AUTOMATIC, [{"CPU": 4.0, "GPU": 1.0, "memory": 16.0 * GB}], "here")
    assert on_gpus.memory is None


def test_profile_that_names_its_workers_stays():
    profile = find_profile("cluster")
    assert workers_for(profile, [{"CPU": 1.0}], "here") is profile


def test_profile_of_whatever_there_is_survives_its_file():
    assert AUTOMATIC.actors == AUTO
    assert AUTOMATIC.plain()["actors"] == "auto"
    assert WorkerProfile.from_plain(AUTOMATIC.plain()) == AUTOMATIC
    assert AUTOMATIC.model_copy(update={"executor": "local"}).cpus_each == AUTOMATIC.cpus


def test_workers_are_described_in_one_line():
    one = AUTOMATIC.model_copy(update={"actors": 1, "cpus": 1.0, "gpus": 0.0})
    assert describe_workers(one) == "1 worker with 1 CPU"
    four = AUTOMATIC.model_copy(update={"actors": 4, "cpus": 0.5})
    assert describe_workers(four) == "4 workers with 0.5 CPUs and 1 GPU each"


def group(name: str, most: int, **resources: int) -> Any:
    # generated when it is imported, and without types
    config = vars(autoscaler_pb2)["NodeGroupConfig"]
    return config(name=name, max_count=most, resources=resources)


def test_nodes_that_an_autoscaler_may_add_count_once_and_those_beside_its_groups_too():
    alive = [
        {"Resources": {"CPU": 1.0}, "Labels": {}},
        {"Resources": {"CPU": 4.0}, "Labels": {"ray.io/node-group": "cpu"}},
    ]
    groups = {g.name: g for g in (group("cpu", 3, CPU=4), group("gpu", 1, CPU=8, GPU=1))}
    assert nodes_at_most(alive, groups) == [
        {"CPU": 1.0},
        *[{"CPU": 4.0}] * 3,
        {"CPU": 8.0, "GPU": 1.0},
    ]
    [first, *more] = nodes_at_most([], {"cpu": group("cpu", -1, CPU=4)})
    assert first == {"CPU": 4.0}
    assert len(more) >= 1000


def test_autoscaler_is_asked_for_the_workers_of_the_runs_that_are_left(
    monkeypatch: pytest.MonkeyPatch,
):
    requests: list[list[dict[str, float]]] = []

    def remember(bundles: list[dict[str, float]]) -> None:
        requests.append(bundles)

    monkeypatch.setattr(capacity, "request_resources", remember)
    notes: list[str] = []
    profile = AUTOMATIC.model_copy(update={"actors": 3, "shards": 2})
    demand = Demand(profile, notes.append)
    for left in (5, 4, 3, 1, 0, 0):
        demand.want(left)
    each = {"CPU": 2.0, "GPU": 1.0}
    assert requests == [[each] * 6, [each] * 2, []]
    assert notes == ["room for 6 workers requested from the autoscaler"]
