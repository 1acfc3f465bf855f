"""What an installation gets: locked dependencies and the bundled data folders."""

from __future__ import annotations

import re
import tomllib

from tests.support import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PINS = [
    line
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
REQUIREMENTS = [
    *PROJECT["project"]["dependencies"],
    *(r for extra in PROJECT["project"]["optional-dependencies"].values() for r in extra),
    *PROJECT["build-system"]["requires"],
]


def _plain_name(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_direct_dependencies_are_all_pinned():
    pinned = {_plain_name(pin) for pin in PINS}
    assert {_plain_name(requirement) for requirement in REQUIREMENTS} - pinned == set()


def test_pins_serve_every_machine():
    """Each is one exact public version: no build tag such as +cpu, no file, no address."""
    exact = re.compile(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!]*")
    assert [pin for pin in PINS if not exact.fullmatch(pin)] == []


def test_lock_leaves_the_cuda_libraries_to_torch():
    assert [pin for pin in PINS if pin.startswith(("nvidia-", "cuda-", "triton"))] == []


def test_wheel_bundles_the_data_folders_where_the_package_looks_for_them():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    folders = ("tasks", "workers", "deploy/sweeps", "results/baselines")
    assert wheel["sources"] == {folder: f"acdc_pipeline/_builtin/{folder}" for folder in folders}
    assert set(wheel["only-include"]) == {"acdc_pipeline", *folders}
    assert [folder for folder in folders if not (REPOSITORY / folder).is_dir()] == []
