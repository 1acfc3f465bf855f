"""The Kubernetes manifests: fields that exist, values that agree with the rest of the project."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from acdc_pipeline.execution.ray.cluster import workers_on
from acdc_pipeline.specs import find_profile, find_sweep
from tests.deploy.deployed import locked, manifest, parsed
from tests.support import REPOSITORY

SCHEMA = json.loads(Path(__file__).with_name("kuberay.schema.json").read_text())
FILES = ("rayjob", "raycluster", "networkpolicy")
CLUSTERS = {
    "rayjob": manifest("kuberay", "rayjob.yaml")["spec"]["rayClusterSpec"],
    "raycluster": manifest("kuberay", "raycluster.yaml")["spec"],
}


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def faults(document: dict[str, Any]) -> list[str]:
    [kind] = [ref for ref in SCHEMA["$defs"] if ref == document["kind"]]
    schema = {**SCHEMA, "$ref": f"#/$defs/{kind}"}
    del schema["oneOf"]
    return [
        error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document)
    ]


@pytest.mark.parametrize("name", FILES)
def test_manifest_has_fields_that_exist_with_values_that_they_take(name: str):
    assert faults(manifest("kuberay", f"{name}.yaml")) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda job: job["spec"].update(submissionmode="SidecarMode"),
        lambda job: job["spec"].update(submissionMode="Sidecar"),
        lambda job: job["spec"]["rayClusterSpec"]["authOptions"].update(mode="disabled"),
        lambda job: job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0].update(replicas="0"),
        lambda job: job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].update(
            {"num-cpus": 0}
        ),
    ],
)
def test_schema_notices_what_is_wrong(spoil: Callable[[dict[str, Any]], None]):
    job = deepcopy(manifest("kuberay", "rayjob.yaml"))
    spoil(job)
    assert faults(job)


@pytest.mark.parametrize("name", CLUSTERS)
def test_cluster_has_the_ray_of_the_lock_file(name: str):
    assert CLUSTERS[name]["rayVersion"] == locked("ray")


@pytest.mark.parametrize("name", CLUSTERS)
def test_head_takes_no_work_and_groups_start_empty(name: str):
    cluster = CLUSTERS[name]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["enableInTreeAutoscaling"] is True
    for group in cluster["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == 0


@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_counts_what_the_pod_was_given(name: str):
    for group in CLUSTERS[name]["workerGroupSpecs"]:
        [container] = group["template"]["spec"]["containers"]
        given = container["resources"]["requests"]
        assert group["rayStartParams"]["num-cpus"] == given["cpu"]
        assert group["rayStartParams"].get("num-gpus") == given.get("nvidia.com/gpu")
        assert container["image"].endswith(":cuda") == ("nvidia.com/gpu" in given)
        assert container["resources"]["limits"]["memory"] == given["memory"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_container_has_shared_memory_in_memory_and_mounts_what_exists(name: str):
    for group in groups(CLUSTERS[name]):
        spec = group["template"]["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {m["mountPath"]: m["name"] for m in spec["containers"][0]["volumeMounts"]}
        assert set(mounts.values()) == set(volumes)
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"


@pytest.mark.parametrize("name", CLUSTERS)
def test_profiles_fit_into_the_groups_at_their_largest(name: str):
    for profile_name, group_name in (("cluster", "cpu"), ("gpu", "gpu-spot")):
        profile = find_profile(profile_name, REPOSITORY)
        [group] = [g for g in CLUSTERS[name]["workerGroupSpecs"] if g["groupName"] == group_name]
        start = group["rayStartParams"]
        node = {"CPU": float(start["num-cpus"]), "GPU": float(start.get("num-gpus", 0))}
        each = workers_on(node, {"CPU": profile.cpus_each, "GPU": profile.gpus})
        assert each * group["maxReplicas"] >= profile.actors


def test_job_starts_a_sweep_that_is_in_the_image_with_options_that_exist():
    options = parsed(manifest("kuberay", "rayjob.yaml")["spec"]["entrypoint"])
    assert find_sweep(options["sweep"], REPOSITORY).name == options["sweep"]
    assert find_profile(options["profile"], REPOSITORY).executor == "ray"
    assert options["executor"] == "ray"
    assert options["store"].startswith("s3://")


def test_job_cleans_up_after_itself():
    spec = manifest("kuberay", "rayjob.yaml")["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    # KubeRay refuses a time to live without it, and a head that restarts in this mode.
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["submissionMode"] == "SidecarMode"
    assert spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_network_policy_holds_for_every_pod_and_lets_only_ours_and_the_operator_in():
    policy = manifest("kuberay", "networkpolicy.yaml")["spec"]
    chosen = policy["podSelector"]["matchLabels"]
    for cluster in CLUSTERS.values():
        for group in groups(cluster):
            assert chosen.items() <= group["template"]["metadata"]["labels"].items()
    ours, operator = policy["ingress"]
    assert ours == {"from": [{"podSelector": {"matchLabels": chosen}}]}
    [source] = operator["from"]
    assert set(source) == {"namespaceSelector", "podSelector"}
    assert 10001 not in {port["port"] for port in operator["ports"]}
