"""One run, here and now: from the store if it is there, else executed and committed."""

from __future__ import annotations

from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord, Store


def execute(
    run: RunSpec,
    task: TaskSpec,
    *,
    device: str = "auto",
    memory: int | None = None,
    progress: Progress | None = None,
) -> RunRecord:
    """The result of `run` by a worker of its own. Raises what `Worker.execute` raises."""
    return Worker(device=device, memory=memory).execute(run, task, progress)


def discover_into(
    store: Store, run: RunSpec, task: TaskSpec, worker: Worker, progress: Progress | None = None
) -> tuple[RunRecord, bool]:
    """The record of `run`, and whether it was in the store already.

    Nothing reaches the store before the run is complete.
    """
    run_id = run.run_id()
    if store.has(run_id):
        return store.get(run_id), True
    record = worker.execute(run, task, progress)
    store.commit(record)
    return record, False
