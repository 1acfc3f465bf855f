"""The cluster file of `ray up`, as Ray itself checks it."""

from __future__ import annotations

from ray.autoscaler._private.util import prepare_config, validate_config

from acdc_pipeline.execution.ray.cluster import workers_on
from acdc_pipeline.specs import find_profile
from tests.deploy.deployed import DEPLOY, manifest
from tests.support import REPOSITORY

CONFIG = manifest("aws", "cluster.yaml")
TYPES = CONFIG["available_node_types"]


def test_cluster_file_is_valid_for_ray_with_its_defaults_filled_in():
    prepared = prepare_config(CONFIG)
    validate_config(prepared)
    assert prepared["head_node_type"] == "head"


def test_cluster_needs_a_token_on_every_node():
    options = " ".join(CONFIG["docker"]["run_options"])
    assert "RAY_AUTH_MODE=token" in options
    [folder] = [place for place in CONFIG["file_mounts"] if f"TOKEN_PATH={place}/" in options]
    assert CONFIG["file_mounts"][folder] == "~/.acdc-cluster"
    assert "~/.acdc-cluster/auth_token" in (DEPLOY / "README.md").read_text()


def test_dashboard_and_ssh_are_not_open_to_everybody():
    [head] = [line for line in CONFIG["head_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in head
    # Where a node type names no group, Ray makes one that lets SSH in from everywhere.
    assert all(kind["node_config"]["SecurityGroupIds"] for kind in TYPES.values())


def test_head_takes_no_work_and_workers_are_none_at_first():
    assert TYPES["head"]["resources"] == {"CPU": 0}
    assert [kind["min_workers"] for name, kind in TYPES.items() if name != "head"] == [0, 0]
    most = sum(kind["max_workers"] for name, kind in TYPES.items() if name != "head")
    assert CONFIG["max_workers"] == most


def test_profiles_fit_on_the_nodes_that_may_be_started():
    for profile_name, node in (("cluster", "cpu"), ("gpu", "gpu")):
        profile = find_profile(profile_name, REPOSITORY)
        kind = TYPES[node]
        resources = {name: float(amount) for name, amount in kind["resources"].items()}
        each = workers_on(resources, {"CPU": profile.cpus_each, "GPU": profile.gpus})
        assert each * kind["max_workers"] >= profile.actors
