"""What deploy/README.md tells people to type names files, sweeps and profiles that exist.

Options of `acdc` are checked with the other documents, in tests/architecture.
"""

from __future__ import annotations

import re
import shlex

import pytest

from acdc_pipeline.specs import find_profile
from tests.deploy.deployed import DEPLOY, parsed
from tests.support import REPOSITORY

README = (DEPLOY / "README.md").read_text()
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def starting_with(*programs: str) -> list[str]:
    return [line for line in LINES if line.split()[0] in programs]


def test_readme_shows_every_way():
    shown = {line.split()[0] for line in LINES}
    assert {"docker", "sbatch", "kubectl", "ray", "acdc", "aws"} <= shown


@pytest.mark.parametrize("line", LINES)
def test_file_of_the_project_that_a_line_names_exists(line: str):
    named = [word for word in words_of(line) if word.startswith(("deploy/", "tasks/", "workers/"))]
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_file_that_an_operator_starts_is_in_readme(path):
    if path.parent.name != "sweeps":
        assert str(path.relative_to(REPOSITORY)) in README


@pytest.mark.parametrize("line", starting_with("sbatch"))
def test_sbatch_line_hands_the_script_options_that_acdc_run_has(line: str):
    words = words_of(line)
    [script] = [i for i, word in enumerate(words) if word.endswith(".sbatch")]
    assert all(word.startswith("--") for word in words[1:script])
    options = parsed(shlex.join(["acdc", "run", *words[script + 1 :]]))
    assert find_profile(options["profile"], REPOSITORY)


@pytest.mark.parametrize("line", [line for line in starting_with("docker") if " acdc " in line])
def test_acdc_inside_a_container_has_options_that_exist(line: str):
    words = words_of(line)
    parsed(shlex.join(words[words.index("acdc") :]))


@pytest.mark.parametrize("line", starting_with("docker"))
def test_docker_target_exists(line: str):
    words = words_of(line)
    if "--target" in words:
        dockerfile = (REPOSITORY / words[words.index("-f") + 1]).read_text()
        assert f" AS {words[words.index('--target') + 1]}\n" in dockerfile


def test_every_placeholder_of_the_files_is_explained():
    placeholder = re.compile(r"(?<![\w$-])[A-Z]{3,}(?:-[A-Z]+)*(?![\w-])")
    files = [*DEPLOY.glob("kuberay/*.yaml"), *DEPLOY.glob("aws/*.yaml")]
    found = set()
    for path in files:
        lines = path.read_text().splitlines()
        code = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        found |= set(placeholder.findall(code))
    known = {"CPU", "GPU", "ALL", "AWS", "TCP", "RAY"}
    assert [name for name in sorted(found - known) if name not in README] == []
