"""One run, here and now: from the store if it is there, else executed and committed."""

from __future__ import annotations

from acdc_pipeline.execution.checkpoint import StoreCheckpoint
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord, Store

CHECKPOINT_EVERY = 60.0
"""Seconds between two checkpoints of a single run."""


def discover_into(
    store: Store, run: RunSpec, task: TaskSpec, worker: Worker, progress: Progress | None = None
) -> tuple[RunRecord, bool]:
    """The record of `run`, and whether it was in the store already.

    Nothing that readers see reaches the store before the run is complete. One that takes long
    keeps its decisions there meanwhile, and goes on from them after an interruption.
    """
    run_id = run.run_id()
    if store.has(run_id):
        return store.get(run_id), True
    record = worker.execute(run, task, progress, StoreCheckpoint(store, run_id, CHECKPOINT_EVERY))
    store.commit(record)
    return record, False
