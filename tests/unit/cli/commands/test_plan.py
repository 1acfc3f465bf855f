"""`acdc plan`: what a sweep would do, said without doing any of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from acdc_pipeline.errors import PromptError
from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.specs import find_sweep
from acdc_pipeline.store import open_store
from acdc_pipeline.store.failure import failure_of
from acdc_pipeline.workflows.sweep import plan_sweep
from tests import records
from tests.command_line import acdc
from tests.support import REPOSITORY
from tests.sweeps import write_shape, write_sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three thresholds of one task, in a model that can be planned and in one that cannot."""
    good, mamba = write_shape(tmp_path / "good"), tmp_path / "mamba"
    write_shape(mamba, architectures=["MambaForCausalLM"], model_type="mamba")
    return write_sweep(
        tmp_path / "small.yaml",
        models=[f"dir:{good}", f"dir:{mamba}"],
        methods=[{"name": "acdc", "thresholds": [0.1, 0.01, 0.001]}],
    )


def runs_of(sweep: Path) -> tuple[PlannedRun, ...]:
    return plan_sweep(find_sweep(sweep), dtype="float32").runs


def test_plan_counts_what_is_there_what_failed_and_what_is_refused(
    capsys, sweep: Path, store_url: str
):
    there, failed, left = runs_of(sweep)
    store = open_store(store_url)
    store.commit(replace(records.record(), spec=there.run))
    store.record_failure(failure_of(failed.run, PromptError("two tokens"), worker="local"))
    shown = acdc(capsys, "plan", sweep, "--json")
    assert shown.code == 0
    totals = shown.document["totals"]
    assert {
        name: totals[name] for name in ("cached", "to_run", "failed", "refused", "unsupported")
    } == {
        "cached": 1,
        "to_run": 1,
        "failed": 1,
        "refused": 3,
        "unsupported": 3,
    }
    assert [(run["run_id"], run["standing"]) for run in shown.document["runs"]] == [
        (there.run_id, "cached"),
        (failed.run_id, "failed_before"),
        (left.run_id, "to_run"),
    ]
    assert "MambaForCausalLM" in shown.document["refused"][0]["error"]["problem"]
    assert [cell["measured"] for cell in shown.document["cells"]] == [1, 0]


def test_plan_for_people_says_why_and_how_it_knows(capsys, sweep: Path, store_url: str):
    (_, failed, _) = runs_of(sweep)
    error = PromptError("two tokens", where="a.jsonl:1")
    open_store(store_url).record_failure(failure_of(failed.run, error, worker="local"))
    shown = acdc(capsys, "plan", sweep)
    assert shown.code == 0
    for part in (
        "small: 6 runs, 2 to run, 1 failed before, 3 unsupported",
        "a count of operations",
    ):
        assert part in shown.out
    assert "CPU hours" in shown.out
    for part in ("architecture 'MambaForCausalLM' is not supported", "a.jsonl:1: two tokens"):
        assert part in shown.err


def test_plan_writes_and_executes_nothing(capsys, sweep: Path, store_url: str):
    before = sorted(sweep.parent.rglob("*"))
    assert acdc(capsys, "plan", sweep).code == 0
    assert sorted(sweep.parent.rglob("*")) == before
    assert not Path(store_url).exists()


def test_plan_of_a_gpu_profile_counts_gpu_hours_and_workers(capsys, sweep: Path):
    shown = acdc(capsys, "plan", sweep, "--profile", "gpu")
    assert "on 8 workers of profile 'gpu' (ray)" in shown.out
    assert "GPU hours" in shown.out
    totals = acdc(capsys, "plan", sweep, "--profile", "gpu", "--json").document["totals"]
    assert totals["gpu_hours"] == pytest.approx(totals["seconds"] / 3600)


def test_plan_of_everything_that_is_done_says_no_time(capsys, sweep: Path, store_url: str):
    for run in runs_of(sweep):
        open_store(store_url).commit(replace(records.record(), spec=run.run))
    shown = acdc(capsys, "plan", sweep)
    assert "3 in the store" in shown.out
    assert "CPU hours" not in shown.out


def test_plan_of_shards_is_together_the_plan_of_the_sweep(capsys, sweep: Path):
    whole = acdc(capsys, "plan", sweep, "--json").document
    parts = [
        acdc(capsys, "plan", sweep, "--shard", f"{index}/4", "--json").document
        for index in (1, 2, 3, 4)
    ]
    ids = sorted(run["run_id"] for part in parts for run in part["runs"])
    assert ids == sorted(run["run_id"] for run in whole["runs"])
    assert sum(part["totals"]["refused"] for part in parts) == whole["totals"]["refused"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_plan_fits_the_terminal(capsys, monkeypatch, sweep: Path, store_url: str, width: int):
    monkeypatch.chdir(Path(store_url).parent)  # a path is not cut, and is short from here
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    table = acdc(capsys, "plan", sweep).out
    assert max(len(line) for line in table.splitlines()) <= width


def test_plan_loads_neither_torch_nor_ray(sweep: Path):
    code = (
        "import sys; from acdc_pipeline.cli.main import main; "
        f"code = main(['plan', {str(sweep)!r}]); "
        "print({'torch', 'ray', 'transformers', 'transformer_lens'} & set(sys.modules), code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "set() 0"


@pytest.mark.parametrize("name", ["demo", "zoo", "paper"])
def test_plan_of_a_shipped_sweep_has_a_row_for_every_cell(capsys, name: str):
    document = acdc(capsys, "plan", name, "--json").document
    spec = find_sweep(name)
    assert {cell["task"] for cell in document["cells"]} == set(spec.tasks)
    refused = {run["model"].partition(":")[0] for run in document["refused"]}
    assert refused <= {"hf"}  # the hub is out of reach here
