"""Work that is done in several processes at once."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import TypeVar

from acdc_pipeline.errors import ExecutionFailed

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_RARELY = (200_000, 50, 1000)


def cores() -> int:
    """The cores that may be used."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def rare_collections() -> Iterator[None]:
    """Lets Python look for unreachable cycles rarely.

    What a build reads lives until its end; to look through all of it again and again, whenever a
    little more was read, takes longer than to read it.
    """
    usual = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def carried_out(
    function: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int
) -> Iterator[tuple[int, _Result]]:
    """What `function` makes of each item in `jobs` processes, as it is done, with its index.

    Args:
        function: found by its name in a process that has imported nothing yet.
        items: picklable.
        jobs: processes.

    Raises:
        ExecutionFailed: one of the processes was killed.
    """
    # Spawned, not forked: Arrow has threads, and what they hold would stay locked in a fork.
    with ProcessPoolExecutor(
        min(jobs, len(items)), mp_context=get_context("spawn"), initializer=_begin
    ) as pool:
        try:
            futures: dict[Future[_Result], int] = {
                pool.submit(function, item): index for index, item in enumerate(items)
            }
            for future in as_completed(futures):
                yield futures.pop(future), future.result()
                # what it gave is not kept until the last is done
                del future
        except BrokenProcessPool as error:
            raise ExecutionFailed(
                "a process of the build ended before its work did; it may have been killed for "
                "lack of memory",
                fix="build with fewer processes: --jobs 1",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Leaves Ctrl-C to the parent, and ends with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(*_RARELY)
    parent = parent_process()
    if parent is not None:
        # A worker of a pool waits for work for ever when its parent was killed.
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
