"""A killed sweep goes on where it was, and two at once do not disturb each other."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.store import open_store
from tests import checkpoints
from tests.command_line import acdc, start_acdc
from tests.forked_commands import ForkedCommand, fork_acdc
from tests.sweeps import write_pairs, write_sweep

pytestmark = pytest.mark.slow

RUNS = 12


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Twelve runs of some two hundred edges each, in two models."""
    models = [checkpoints.native(tmp_path / f"m{seed}", seed, layers=4) for seed in range(2)]
    return write_sweep(
        tmp_path / "sweep.yaml",
        tasks=[str(write_pairs(tmp_path / "ids.jsonl"))],
        models=[f"dir:{model}" for model in models],
        methods=[{"name": "acdc", "thresholds": [1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5]}],
    )


OPTIONS = ("--device", "cpu", "--json")


def start(sweep: Path, *options: str) -> ForkedCommand:
    return fork_acdc("run", sweep, *OPTIONS, *options)


def states(document: dict[str, Any]) -> dict[str, str]:
    return {run["run_id"]: run["state"] for run in document["runs"]}


def test_killed_sweep_run_again_executes_only_what_is_missing(capsys, sweep: Path, store_url: str):
    with start(sweep) as process:
        assert any(line.startswith(f"[4/{RUNS}]") for line in process.stderr)
        process.send_signal(signal.SIGKILL)  # wherever the fifth run is by now
    assert process.returncode == -signal.SIGKILL
    store = open_store(store_url)
    before = set(store.run_ids())
    assert 4 <= len(before) < RUNS
    assert store.damaged() == []
    again = acdc(capsys, "run", sweep, *OPTIONS)
    assert again.code == 0, again.err
    found = states(again.document)
    assert {run_id for run_id, state in found.items() if state == "present"} == before
    assert set(store.run_ids()) == set(found)
    assert store.damaged() == store.failures() == []


def test_interrupted_sweep_keeps_what_is_done_and_says_how_to_go_on(sweep: Path, store_url: str):
    with start_acdc("run", sweep, *OPTIONS) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert any(line.startswith("[2/") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.stdout.read() == ""
    assert process.returncode == 130
    assert f"continue with: acdc run {sweep} --device cpu --json" in rest
    assert "Traceback" not in rest
    store = open_store(store_url)
    assert 2 <= len(store.run_ids()) < RUNS
    assert store.damaged() == store.failures() == []


def test_two_sweeps_at_once_on_one_store_commit_every_run_once(sweep: Path, store_url: str):
    racing = [start(sweep), start(sweep)]
    ended = [process.communicate() for process in racing]
    assert [process.returncode for process in racing] == [0, 0], ended
    found = [states(json.loads(out)) for out, _ in ended]
    store = open_store(store_url)
    assert set(store.run_ids()) == set(found[0]) == set(found[1])
    for run_id in store.run_ids():
        assert sorted(each[run_id] for each in found) == ["committed", "present"]
    assert store.damaged() == store.failures() == []
    # as many as were executed: a run of one driver is claimed, and not begun by the other
    executed = [sum(state == "committed" for state in each.values()) for each in found]
    assert sum(executed) == RUNS
    assert min(executed) > 0
    assert list((Path(store_url) / "tmp").iterdir()) == []


def test_sweep_that_is_killed_leaves_its_runs_to_the_other_at_once(sweep: Path, store_url: str):
    # The lease is what a run would wait for if its driver were not known to be dead.
    lease = ("--lease", "1h")
    with start(sweep, *lease) as killed, start(sweep, *lease) as other:
        assert any(line.startswith("[2/") for line in killed.stderr)
        killed.send_signal(signal.SIGKILL)
        out, err = other.communicate()
    assert (killed.returncode, other.returncode) == (-signal.SIGKILL, 0), err
    store = open_store(store_url)
    assert set(store.run_ids()) == set(states(json.loads(out)))
    assert len(store.run_ids()) == RUNS
    assert store.damaged() == store.failures() == []
