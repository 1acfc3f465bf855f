"""Errors of a run by kind: memory that runs out is tried again with half of it, nothing else is."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.execution.checkpoint import Checkpoint
from acdc_pipeline.execution.executor import LocalExecutor
from acdc_pipeline.execution.out_of_memory import is_out_of_memory
from acdc_pipeline.execution.progress import Progress, SilentSweep
from acdc_pipeline.execution.run_worker import ReducesMemory
from acdc_pipeline.execution.runs import Outcome
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord, Store, open_store
from acdc_pipeline.store.failure import RemoteFailure
from tests import records
from tests.sweeps import planned

FULL = 1024


class Needs:
    """A worker whose runs raise `error` with a budget above `most` bytes."""

    def __init__(self, most: int, error: Exception) -> None:
        self.most, self.error = most, error
        self.halvings = 0
        self.budgets: list[int] = []

    def reduce_memory(self, halvings: int) -> int:
        self.halvings = halvings
        return FULL >> halvings

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        self.budgets.append(FULL >> self.halvings)
        if self.budgets[-1] > self.most:
            raise self.error
        return records.record(run.seed)


class Messages(SilentSweep):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def waiting(self, reason: str) -> None:
        self.messages.append(reason)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def execute(
    worker: Needs, store: Store, seeds: tuple[int, ...] = (0,)
) -> tuple[list[Outcome], list[str]]:
    heard = Messages()
    runs = [planned(seed) for seed in seeds]
    return list(LocalExecutor(lambda: worker).execute(runs, store, heard)), heard.messages


OUT_OF_MEMORY = [
    MemoryError(),
    MemoryError("Unable to allocate 8 TiB for an array"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RemoteFailure.of(torch.OutOfMemoryError("CUDA out of memory")),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_memory_that_runs_out_is_tried_again_with_half_until_it_fits(
    error: Exception, store: Store
):
    worker = Needs(300, error)
    (outcome,), messages = execute(worker, store)
    assert outcome.state == "committed"
    assert worker.budgets == [1024, 512, 256]
    record = store.get(planned().run_id)
    assert record.details["retries"] == [
        {"cause": "out of memory", "memory": 512},
        {"cause": "out of memory", "memory": 256},
    ]
    assert len(messages) == 2
    assert all("memory ran out for" in message for message in messages)


def test_later_runs_keep_the_smaller_budget_and_say_nothing(store: Store):
    worker = Needs(600, MemoryError())
    outcomes, _ = execute(worker, store, (0, 1))
    assert [outcome.state for outcome in outcomes] == ["committed"] * 2
    assert worker.budgets == [1024, 512, 512]
    assert store.get(planned(1).run_id) == records.record(1)


def test_memory_that_never_suffices_fails_and_the_next_run_has_the_full_budget(store: Store):
    worker = Needs(0, MemoryError())
    (outcome,), _ = execute(worker, store)
    assert outcome.state == "failed"
    assert worker.budgets == [1024, 512, 256, 128]
    assert worker.halvings == 0
    assert isinstance(outcome.error, ExecutionFailed)
    assert "memory ran out in 4 attempts" in outcome.error.problem


@pytest.mark.parametrize(
    "error",
    [
        ExecutionFailed("the recheck ran out of memory of its words"),
        KeyError("out of memory"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_the_program_are_not_tried_again(error: Exception, store: Store):
    assert not is_out_of_memory(error)
    worker = Needs(0, error)
    (outcome,), messages = execute(worker, store)
    assert outcome.state == "failed"
    assert worker.budgets == [1024]
    assert not messages


class LosesOne(Needs):
    losses = ("worker 2 of 2 died (killed by SIGKILL); another one replaces it",)


def test_record_says_which_workers_died(store: Store):
    execute(LosesOne(FULL, MemoryError()), store)
    record = store.get(planned().run_id)
    assert record.details["lost_workers"] == [*LosesOne.losses]
    assert "retries" not in record.details


def test_worker_halves_its_budget_and_restores_it():
    worker = Worker(device="cpu", memory=1 << 20)
    assert isinstance(worker, ReducesMemory)
    assert worker.reduce_memory(2) == worker.budget == 1 << 18
    assert worker.reduce_memory(0) == worker.budget == 1 << 20


def test_failure_of_a_shard_keeps_its_kind_on_the_way():
    error = pickle.loads(pickle.dumps(RemoteFailure.of(MemoryError("no room"))))
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RemoteFailure.of(ValueError("no room")))
