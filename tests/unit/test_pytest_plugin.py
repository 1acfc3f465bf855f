"""`pytest --acdc-baselines DIR`, in a pytest of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from acdc_pipeline.cli.main import main
from tests.support import REPOSITORY
from tests.sweeps import write_sweep

PLUGIN = "acdc_pipeline.pytest_plugin"


def run_pytest(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs pytest in `folder`, with the plugin loaded as its entry point loads it."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", PLUGIN, "-rA"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of three cells: one as its baseline says, one not, one without a baseline."""
    folder = tmp_path_factory.mktemp("project")
    thresholds = [{"name": "acdc", "thresholds": [0.1, 0.2]}]
    sweep = write_sweep(folder / "small.yaml", methods=thresholds)
    where = [str(sweep), "--baselines", str(folder / "baselines")]
    assert main(["regress", *where, "--update-baseline", "--reason", "for a test"]) == 0
    drifted = folder / "baselines" / "compiled_or.zoo-compiled-or.acdc-0.2.json"
    baseline = json.loads(drifted.read_text())
    baseline["metrics"]["accuracy"] = 0.25
    drifted.write_text(json.dumps(baseline))
    write_sweep(sweep, methods=[{"name": "acdc", "thresholds": [0.1, 0.2, 0.3]}])
    return folder


def test_plugin_makes_a_test_case_of_each_cell(project: Path):
    ran = run_pytest(
        project, "--acdc-baselines", "baselines", "--acdc-sweep", "small.yaml", "--junitxml=o.xml"
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "1 failed, 1 passed, 1 error" in ran.stdout
    assert "accuracy 0.25 -> 1" in ran.stdout
    assert "there is no baseline" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert (project / "o.xml").read_text().count("<error") == 1


def test_plugin_without_its_option_imports_nothing_and_adds_nothing(tmp_path: Path):
    (tmp_path / "test_light.py").write_text(
        "import sys\n"
        "def test_nothing_heavy():\n"
        "    heavy = {'torch', 'ray', 'pyarrow', 'acdc_pipeline.regression', 'acdc_pipeline.cli'}\n"
        "    assert heavy & set(sys.modules) == set()\n"
    )
    ran = run_pytest(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_plugin_folder_that_is_not_there_is_a_usage_error(tmp_path: Path):
    ran = run_pytest(tmp_path, "--acdc-baselines", "nowhere")
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "nowhere: is not a folder" in ran.stdout + ran.stderr
