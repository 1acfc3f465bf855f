"""Whether a cluster has room, from what its dashboard answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.submission import Cluster, parse_address
from acdc_pipeline.execution.submission.room import Nodes, check_room, find_nodes
from acdc_pipeline.specs import find_profile
from tests.http_answers import Answer, answering

AUTOMATIC = find_profile("auto")
FOUR = AUTOMATIC.model_copy(update={"actors": 4, "gpus": 0.0})


def node(state: str = "ALIVE", labels: Any = None, **resources: float) -> dict[str, Any]:
    return {"state": state, "resources_total": resources, "labels": labels or {}}


def check(
    nodes: list[dict[str, Any]] | None, profile=AUTOMATIC, active: Mapping[str, str] | None = None
) -> tuple[Nodes | None, list[str]]:
    """The nodes that a dashboard with these answers has, and the notes of the check."""

    def answer(path: str, headers: Mapping[str, str]) -> Answer:
        if path == "/api/v0/nodes" and nodes is not None:
            return Answer(200, json.dumps({"data": {"result": {"result": nodes}}}))
        if path == "/api/cluster_status":
            report = {} if active is None else {"autoscalerReport": {"nodeTypeMapping": active}}
            return Answer(200, json.dumps({"data": {"clusterStatus": report}}))
        return Answer(404, "404: Not Found")

    notes: list[str] = []
    with answering(answer) as url:
        cluster = Cluster(parse_address(url, "--address"), "2.60.0", None)
        check_room(cluster, profile, notes.append)
        return find_nodes(cluster), notes


def test_workers_that_fit_are_said_and_dead_nodes_do_not_count():
    found, notes = check([node(CPU=2.0), node(CPU=4.0), node("DEAD", CPU=64.0)])
    assert found == Nodes(({"CPU": 2.0}, {"CPU": 4.0}), grows=False)
    assert notes == ["3 workers with 2 CPUs each: what the cluster has room for"]


def test_named_profile_that_fits_is_silent_and_one_that_does_not_is_refused():
    assert check([node(CPU=8.0)], FOUR)[1] == []
    tight = FOUR.model_copy(update={"memory": 2**30})
    assert check([node(CPU=8.0, memory=3.0 * 2**30)], tight)[1] == [
        "room for 3 of 4 actors, with 2 CPUs and 1024MiB of memory: the others start when there is "
        "more"
    ]
    with pytest.raises(InvalidInput, match="has room for 0 workers") as raised:
        check([node(CPU=0.0)])
    assert raised.value.exit_code == 2
    with pytest.raises(InvalidInput, match="GPU"):
        check([node(CPU=8.0)], find_profile("gpu"))


@pytest.mark.parametrize(
    ("labels", "active"),
    [({"ray.io/node-group": "headgroup"}, None), ({}, {"064f": "cpu.large"})],
)
def test_cluster_that_may_grow_is_noted_and_not_refused(labels: Any, active: Any):
    found, notes = check([node(labels=labels, CPU=0.0)], active=active)
    assert found is not None
    assert found.grows
    assert notes == [
        "8 workers with 1 CPU each: a first request to the autoscaler, for there is no node for "
        "work yet"
    ]
    assert check([node(labels=labels, CPU=2.0)], FOUR, active)[1] == [
        "room for 1 of 4 actors, with 2 CPUs: the others start when there is more"
    ]
    assert check([node(labels=labels, CPU=1.0)], FOUR, active)[1] == [
        "the cluster has no room for 1 worker with 2 CPUs: 1 CPU is missing; the job requests more "
        "nodes from its autoscaler"
    ]


def test_node_started_by_hand_is_no_autoscaler():
    with pytest.raises(InvalidInput):
        check([node(CPU=0.0)], active={"064f": "node_064f"})


@pytest.mark.parametrize("nodes", [None, [{"state": "ALIVE"}], [1]])
def test_dashboard_that_lists_no_nodes_leaves_the_check_to_the_job(nodes: Any):
    found, notes = check(nodes)
    assert found is None
    assert len(notes) == 1
    assert "the job itself checks" in notes[0]
