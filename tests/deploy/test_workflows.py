"""The GitHub workflows: their commands exist, and the regression step tells verdicts apart."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.deployed import DEPLOY, parsed, programs
from tests.support import REPOSITORY

WORKFLOWS = [*sorted((REPOSITORY / ".github/workflows").glob("*.yml")), DEPLOY / "ci/example.yaml"]
ACTION = DEPLOY / "ci" / "action.yml"
SCRIPT = DEPLOY / "ci" / "regress.sh"


def steps_of(path: Path) -> list[dict[str, Any]]:
    """Every step of a workflow or of a composite action."""
    document = yaml.safe_load(path.read_text())
    if "runs" in document:
        return document["runs"]["steps"]
    return [step for job in document["jobs"].values() for step in job["steps"]]


def lines_of(path: Path) -> list[str]:
    """Every line that steps hand to a shell."""
    return [line for step in steps_of(path) for line in step.get("run", "").splitlines()]


COMMANDS = [
    line for path in WORKFLOWS for line in lines_of(path) if line.strip().startswith("acdc ")
]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_states_its_rights_and_ends_by_itself(path: Path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    slow = [job for job in workflow["jobs"].values() if any("run" in s for s in job["steps"])]
    assert all("timeout-minutes" in job for job in slow)


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.stem)
def test_action_that_a_step_uses_has_a_version_or_is_here(path: Path):
    for step in steps_of(path):
        used = step.get("uses", "actions/checkout@v4")
        if used.startswith("./"):
            known = yaml.safe_load((REPOSITORY / used / "action.yml").read_text())["inputs"]
            assert set(step.get("with", {})) <= set(known)
        else:
            assert re.fullmatch(r"[\w-]+(/[\w-]+)+@\w+", used)


@pytest.mark.parametrize("line", COMMANDS)
def test_command_of_a_workflow_exists_with_its_options(line: str):
    parsed(line.strip())


def test_nothing_that_a_caller_writes_becomes_shell():
    assert [line for line in lines_of(ACTION) if "${{" in line] == []


def test_command_of_the_regression_step_exists_with_its_options():
    [line] = re.findall(r'^acdc regress .*?(?= "\$@")', SCRIPT.read_text(), re.MULTILINE)
    found = parsed(line.replace("$sweep", "regress").replace("$reports", "reports"))
    assert "reports/junit.xml" in map(str, found.values())
    assert "reports/summary.md" in map(str, found.values())


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(0, "same"), (1, "drift"), (2, "invalid"), (3, "failed"), (4, "no-baseline"), (9, "failed")],
)
def test_regression_step_ends_as_acdc_does_and_names_the_verdict(
    tmp_path: Path, code: int, verdict: str
):
    path = programs(tmp_path / "bin", acdc=f'echo "$@" > called; exit {code}')
    output = tmp_path / "output"
    done = subprocess.run(
        ["bash", SCRIPT, "small", "--threads", "1"],
        cwd=tmp_path,
        env={
            "PATH": path,
            "HOME": os.environ["HOME"],
            "GITHUB_OUTPUT": str(output),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert output.read_text() == f"verdict={verdict}\n"
    called = (tmp_path / "called").read_text()
    assert called.startswith("regress small ")
    assert called.endswith(" --threads 1\n")
    assert (tmp_path / "acdc-regress").is_dir()
    assert ("::error" in done.stdout) == (code != 0)
