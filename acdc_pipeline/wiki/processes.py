"""Work in several processes at once."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import TypeVar

from acdc_pipeline.errors import ExecutionFailed

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_GC_THRESHOLDS = (200_000, 50, 1000)


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def infrequent_gc() -> Iterator[None]:
    """Make garbage collections rare.

    What a build reads stays alive until its end; searching it for cycles again and again takes
    longer than reading it.
    """
    usual = gc.get_threshold()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def map_in_processes(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    jobs: int,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[_Result]:
    """Yield the results for `items` as completed. Raises ExecutionFailed if a process is killed.

    `meanwhile` is called in this process as soon as the others have work.
    """
    # Spawned, not forked: locks held by Arrow's threads would stay locked in a fork.
    with ProcessPoolExecutor(
        min(jobs, len(items)), mp_context=get_context("spawn"), initializer=_start_worker
    ) as pool:
        try:
            # nothing else refers to the futures, whose results are large
            completed = as_completed({pool.submit(function, item) for item in items})
            meanwhile()
            for future in completed:
                yield future.result()
                del future  # frees its result
        except BrokenProcessPool as error:
            raise ExecutionFailed(
                "a process of the build was killed, perhaps for lack of memory",
                fix="build with fewer processes (jobs: 1)",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent process, and exit when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(*_GC_THRESHOLDS)
    parent = parent_process()
    if parent is not None:
        # a worker of a pool whose parent was killed would wait forever
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
