"""A run that was cut off goes on from its checkpoint, and leaves the bytes of one that was not."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Decision
from acdc_pipeline.specs import AcdcMethod, find_task
from acdc_pipeline.store import open_store
from tests import checkpoints
from tests.command_line import acdc
from tests.forked_commands import fork_acdc
from tests.sweeps import write_pairs, write_sweep

pytestmark = pytest.mark.slow

METHOD = AcdcMethod(
    name="acdc",
    threshold=1e-6,
    metric="kl",
    ablation="corrupted",
    order="reverse-heads",
    difference="signed",
)


class Notes:
    """A checkpoint in memory: everything it is offered, and the log it was made with."""

    def __init__(self, log: tuple[Decision, ...] = ()) -> None:
        self.offered: list[tuple[Decision, ...]] = []
        self._log = log

    def load(self, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
        return self._log

    def offer(self, decisions: Sequence[Decision], conditions: Mapping[str, str]) -> None:
        self.offered.append(tuple(decisions))


def test_worker_given_the_decisions_of_an_earlier_attempt_ends_in_the_same_record(tmp_path: Path):
    directory = checkpoints.gpt2(tmp_path / "model", layers=6)
    task = find_task(write_pairs(tmp_path / "ids.jsonl"))
    run = plan_run(task, f"dir:{directory}", method=METHOD, prompts=4, seed=0, dtype="float32")
    first = Notes()
    whole = Worker(device="cpu").execute(run, task, checkpoint=first)
    half = first.offered[len(first.offered) // 2]
    assert 0 < len(half) < len(whole.decisions)
    second = Notes(half)
    resumed = Worker(device="cpu").execute(run, task, checkpoint=second)
    assert resumed.decisions == whole.decisions
    assert resumed.circuit == whole.circuit
    assert resumed.metrics == whole.metrics
    assert resumed.details == whole.details
    assert all(len(offered) >= len(half) for offered in second.offered)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """One run of hundreds of edges, nearly all of which stay: a second or two."""
    return write_sweep(
        tmp_path / "sweep.yaml",
        tasks=[str(write_pairs(tmp_path / "ids.jsonl"))],
        models=[f"dir:{checkpoints.gpt2(tmp_path / 'model', layers=6)}"],
        methods=[{"name": "acdc", "thresholds": [1e-9]}],
    )


def test_killed_run_goes_on_from_its_checkpoint_to_the_same_bytes(
    capsys, sweep: Path, tmp_path: Path
):
    profile = tmp_path / "often.yaml"
    laptop = yaml.safe_load(Path("workers/laptop.yaml").read_text())
    profile.write_text(json.dumps(laptop | {"checkpoint": "0.01s"}))
    common = ("run", sweep, "--profile", profile, "--device", "cpu", "--json", "--store")
    cut_off, whole = open_store(tmp_path / "cut-off"), open_store(tmp_path / "whole")
    with fork_acdc(*common, cut_off.url) as process:
        kept = tmp_path / "cut-off" / "checkpoints"
        while not list(kept.glob("*.parquet")):
            assert process.poll() is None
            time.sleep(0.01)  # a core of its own for the search
        process.send_signal(signal.SIGKILL)
    assert cut_off.run_ids() == []
    for store in (cut_off, whole):
        done = acdc(capsys, *common, store.url)
        assert done.code == 0, done.err
    (run_id,) = whole.run_ids()
    assert cut_off.run_ids() == [run_id]
    for name in ("steps.parquet", "edges.parquet", "graph.json"):
        assert cut_off.read_file(run_id, name) == whole.read_file(run_id, name)
    assert not list(kept.iterdir())
