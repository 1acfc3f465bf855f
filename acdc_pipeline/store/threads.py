"""Threads that encode the files of a run, and wait for the disk, at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from acdc_pipeline.store import layout

Item = TypeVar("Item")
Result = TypeVar("Result")


def all_at_once(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return `function` of every item, in order, from threads that stay for the next call.

    Starting threads takes longer than what a commit does in them. `function` must not call this.
    """
    return list(_threads().map(function, items))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2 * len(layout.FILES), thread_name_prefix="store")


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_threads.cache_clear)
