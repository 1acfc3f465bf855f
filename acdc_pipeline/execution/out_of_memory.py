"""Another attempt at a run whose memory ran out, with half of the byte budget.

The budget decides the size of batches, and so the memory of a search; it never decides a result.
All other errors of a run are errors of the program: another attempt would meet them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from acdc_pipeline.errors import AcdcError, OutOfMemoryBudget
from acdc_pipeline.execution.checkpoint import Checkpoint
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.execution.run_worker import LosesWorkers, ReducesMemory, RunWorker
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord
from acdc_pipeline.store.failure import RemoteFailure
from acdc_pipeline.text import pluralize

MAX_HALVINGS = 3
"""The most times that the budget of a worker is halved."""

RETRIES = "retries"
"""The name of the retries among the details of a record; absent where there was none."""

LOST_WORKERS = "lost_workers"
"""The key, in the details of a record, of the messages about workers that died."""

CAUSE = "out of memory"

_KINDS = ("MemoryError", "_ArrayMemoryError", "OutOfMemoryError")
_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the machine or of a GPU ran out, in this process or in a shard's."""
    if isinstance(error, AcdcError):
        return False
    if isinstance(error, RemoteFailure):
        kind, text = error.kind, error.problem
    else:
        kind, text = type(error).__name__, str(error)
    if isinstance(error, MemoryError) or kind in _KINDS:
        return True
    # PyTorch has no class of its own where the memory of the machine runs out.
    is_runtime = isinstance(error, RuntimeError) or kind in ("RuntimeError", "AcceleratorError")
    return is_runtime and any(message in text for message in _MESSAGES)


def execute_in_memory(
    worker: RunWorker,
    run: RunSpec,
    task: TaskSpec,
    progress: Progress,
    checkpoint: Checkpoint,
    report: Callable[[str], None],
    earlier: Sequence[Mapping[str, object]] = (),
) -> RunRecord:
    """Execute a run on `worker`; arguments and errors are those of `try_in_memory`."""

    def attempt() -> RunRecord:
        return worker.execute(run, task, progress, checkpoint)

    return try_in_memory(worker, run, attempt, report, earlier)


def try_in_memory(
    worker: object,
    run: RunSpec,
    attempt: Callable[[], RunRecord],
    report: Callable[[str], None],
    earlier: Sequence[Mapping[str, object]] = (),
) -> RunRecord:
    """Execute a run; where memory runs out, again with half of the budget, and half of that.

    The record of a run that was tried again has the budgets of the further attempts in its
    details, under `retries`; that of a run whose workers died what was reported of them, under
    `lost_workers`.

    Args:
        worker: what `attempt` executes the run on.
        attempt: executes it once.
        report: receives a message before each further attempt.
        earlier: the retries before this one, on other workers.

    Raises:
        OutOfMemoryBudget: memory ran out with the least budget too.
        AcdcError: like `RunWorker.execute`, at once.
    """
    retries = [dict(retry) for retry in earlier]
    lost: list[str] = []
    while True:
        try:
            record = attempt()
        except Exception as error:
            if not isinstance(worker, ReducesMemory) or not is_out_of_memory(error):
                raise
            halvings = worker.halvings + 1
            if halvings > MAX_HALVINGS:
                worker.reduce_memory(0)
                tries = pluralize(len(retries) + 1, "attempt")
                raise OutOfMemoryBudget(
                    f"memory ran out in {tries}, the last with 1/{2**MAX_HALVINGS} of the budget",
                    where=f"{run.task} in {run.model}",
                    fix="use fewer prompts, a smaller --memory (weights above it are read layer by "
                    "layer), or a worker profile with more memory",
                ) from error
        else:
            lost += worker.losses if isinstance(worker, LosesWorkers) else ()
            found = {RETRIES: retries, LOST_WORKERS: lost}
            kept = {name: value for name, value in found.items() if value}
            return replace(record, details={**record.details, **kept}) if kept else record
        lost += worker.losses if isinstance(worker, LosesWorkers) else ()
        # Outside of the handler: the error holds the tensors of the attempt.
        memory = worker.reduce_memory(halvings)
        retries.append({"cause": CAUSE, "memory": memory})
        report(
            f"memory ran out for {run.task} in {run.model}: again with a budget of "
            f"{memory / 2**20:,.0f} MiB"
        )
