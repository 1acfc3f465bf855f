"""What is checked before a worker, which takes seconds, is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.errors import InvalidInput, StoreError
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import RunSpec, find_task, method_for
from acdc_pipeline.store import RunRecord, open_store
from acdc_pipeline.workflows.discovery import discover_into, worker_factory
from tests import records, sweeps


def no_worker() -> Worker:
    raise AssertionError("no worker is needed")


def test_discover_into_a_store_that_cannot_be_written_makes_no_worker(tmp_path: Path):
    task = find_task("compiled_or")
    method = method_for("acdc", {"threshold": 0.1}, task, where="a test")
    run = plan_run(task, "zoo:compiled-or", method=method, prompts=4, seed=0, dtype="float32")
    store = open_store(tmp_path, mode="write")
    (tmp_path / "tmp").rmdir()
    (tmp_path / "tmp").write_text("a file where runs are prepared")
    with pytest.raises(StoreError):
        discover_into(store, run, task, no_worker)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"memory": 0}, "memory: 0 is too small"),
        ({"threads": 0}, "threads: 0 is too small"),
        ({"threads": 513}, "threads: 513 is too large"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
    ],
)
def test_worker_factory_refuses_what_no_worker_can_have(wrong: dict[str, int], error: str):
    with pytest.raises(InvalidInput, match=error):
        worker_factory(**wrong)  # pyright: ignore[reportArgumentType]


class Loses:
    """A worker whose memory suffices for half of the budget, and whose helpers die."""

    losses = ("worker 2 of 2 died (killed by SIGKILL); another one replaces it",)

    def __init__(self) -> None:
        self.halvings = 0

    def reduce_memory(self, halvings: int) -> int:
        self.halvings = halvings
        return 1024 >> halvings

    def execute(self, run: RunSpec, *_: object) -> RunRecord:
        if not self.halvings:
            raise MemoryError
        return records.record(run.seed)


def test_discover_into_records_lost_workers_and_tries_again_with_half_the_memory(tmp_path: Path):
    planned, said = sweeps.planned(), list[str]()
    make: Any = Loses
    record, _ = discover_into(
        open_store(tmp_path), planned.run, planned.task, make, report=said.append
    )
    assert record.details["lost_workers"] == [*Loses.losses] * 2
    assert record.details["retries"] == [{"cause": "out of memory", "memory": 512}]
    assert len(said) == 1
    assert open_store(tmp_path).get(planned.run_id) == record
