"""Measure the heads of a model on ordinary text, unless the store has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.execution.progress import Silent
from acdc_pipeline.specs import RunSpec

if TYPE_CHECKING:
    from acdc_pipeline.execution.progress import Progress
    from acdc_pipeline.execution.worker import Worker
    from acdc_pipeline.specs.text_files import NamedText
    from acdc_pipeline.store import RunRecord, Store


def profile_text_into(
    store: Store,
    run: RunSpec,
    texts: Sequence[NamedText],
    make_worker: Callable[[], Worker],
    progress: Progress | None = None,
    report: Callable[[str], None] = lambda message: None,
) -> tuple[RunRecord, bool]:
    """Return the record of `run`, and whether it was in the store already.

    Readers see nothing in the store before the run is complete.

    Args:
        run: what `plan_text_run` made of `texts`.
        make_worker: makes the worker, only if the store does not have the run and can be written.
        report: receives a message before another attempt of a run whose memory ran out.

    Raises:
        StoreError: the store cannot be read or written.
        AcdcError: as `execute_text_run`.
    """
    run_id = run.run_id()
    if store.has(run_id):
        return store.get(run_id), True
    store.check_writable()
    from acdc_pipeline.execution.out_of_memory import try_in_memory
    from acdc_pipeline.execution.text_run import execute_text_run

    worker = make_worker()

    def attempt() -> RunRecord:
        return execute_text_run(worker, run, texts, progress or Silent())

    record = try_in_memory(worker, run, attempt, report)
    store.commit(record)
    return record, False
