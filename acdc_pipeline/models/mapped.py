"""Blocks of a model that are read from its files when they are needed, within a byte budget."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import fields, is_dataclass, replace
from typing import Any, Generic, TypeVar, overload

import torch
from torch import Tensor

T = TypeVar("T")


class MappedBlocks(Sequence[T], Generic[T]):
    """Blocks of which only some are in memory.

    The last blocks stay: searches begin at the end of a model and pass what follows a receiver
    again and again. Two more are held, the one in use and the next in the direction of the last
    two accesses, which is read ahead in a thread.

    Args:
        read: returns a block by its index, with tensors of its own.
        sizes: bytes of each block.
        budget: bytes of the blocks that stay; none do where it is 0 or less. While the next block
            is made, three more are in memory: the one in use, the next, and what it is made from.
        reads_ahead: whether the next block is read in a thread.
    """

    def __init__(
        self,
        read: Callable[[int], T],
        sizes: Sequence[int],
        budget: int,
        *,
        reads_ahead: bool = True,
    ) -> None:
        self._read = read
        self._read_once = read
        self._kept: dict[int, T] = {}
        self._passing: dict[int, T] = {}
        self._ahead: tuple[int, Future[T]] | None = None
        self._last = -1
        self._reads_ahead = reads_ahead
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-block")
        shapes = []
        for index in range(len(sizes)):
            shapes.append(without_values(read(index)))
            release_freed_memory()
        self.shapes: tuple[T, ...] = tuple(shapes)
        """The blocks with matrices that hold no values."""
        self.sizes = tuple(sizes)
        """Bytes of each block."""
        self._stays = last_that_fit(sizes, budget)

    @property
    def read_share(self) -> float:
        """The part of all bytes that is read in a pass over all blocks."""
        passing = sum(size for i, size in enumerate(self.sizes) if i not in self._stays)
        return passing / sum(self.sizes)

    def __len__(self) -> int:
        return len(self.shapes)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> MappedBlocks[T]: ...

    def __getitem__(self, index: int | slice) -> T | MappedBlocks[T]:
        if isinstance(index, slice):
            return self._part(range(len(self))[index])
        index = range(len(self))[index]
        if index in self._kept:
            return self._kept[index]
        if index not in self._passing:
            block = self._take(index)
            if index in self._stays:
                self._kept[index] = block
                return block
            self._passing = {index: block}
        block = self._passing[index]
        self._read_ahead(index + (1 if index >= self._last else -1))
        self._last = index
        return block

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(len(self)))

    def _part(self, indices: range) -> MappedBlocks[T]:
        """Return some of the blocks, which are read through these."""
        part = copy(self)
        part.shapes = tuple(self.shapes[index] for index in indices)
        part.sizes = tuple(self.sizes[index] for index in indices)
        part._read = lambda index: self[indices[index]]
        part._read_once = lambda index: self.read_once(indices[index])
        part._kept, part._passing, part._stays = {}, {}, set()
        part._ahead, part._reads_ahead = None, False
        return part

    def read_once(self, index: int) -> T:
        """Return a block that is not held afterwards; nor are those that were passing."""
        if index in self._kept:
            return self._kept[index]
        self.settle()
        self._ahead = None
        self._passing.clear()
        release_freed_memory()
        return self._read_once(index)

    def settle(self) -> None:
        """Wait for the block that is being read ahead: nothing reads the files afterwards."""
        if self._ahead is not None:
            self._ahead[1].result()

    def _take(self, index: int) -> T:
        """Return a block that is not in memory."""
        self._passing.clear()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            found = ahead[1].result()
            if ahead[0] == index:
                return found
            del found
        release_freed_memory()
        return self._read(index)

    def _read_ahead(self, index: int) -> None:
        if self._ahead is not None and self._ahead[0] == index:
            return
        held = index in self._stays or index in self._passing
        if held or not self._reads_ahead or not 0 <= index < len(self):
            return
        self.settle()
        self._ahead = index, self._thread.submit(self._read_next, index)

    def _read_next(self, index: int) -> T:
        release_freed_memory()
        return self._read(index)


def last_that_fit(sizes: Sequence[int], budget: int) -> set[int]:
    """Return the indices of the last blocks that take at most `budget` bytes together."""
    fit: set[int] = set()
    for index in reversed(range(len(sizes))):
        budget -= sizes[index]
        if budget < 0:
            break
        fit.add(index)
    return fit


def release_freed_memory() -> None:
    """Give the memory of freed tensors back to the system, where the C library keeps it."""
    _call_glibc("malloc_trim", 0)


def release_memory_when_freed() -> None:
    """Give tensors of 64 KiB or more back to the system as soon as they are freed.

    glibc keeps freed memory below a threshold that grows with what is freed, up to 32 MiB (mallopt
    of the GNU C library, M_MMAP_THRESHOLD). Freed blocks and activations would then count against
    a memory budget as long as the process lives. In return each allocation maps its pages again.
    """
    m_mmap_threshold = -3  # malloc.h
    _call_glibc("mallopt", m_mmap_threshold, 64 * 1024)


def _call_glibc(name: str, *arguments: int) -> None:
    """Call a function that glibc has; do nothing with other C libraries."""
    if sys.platform == "linux":
        function = getattr(ctypes.CDLL(None), name, None)
        if function is not None:
            function(*arguments)


def without_values(item: Any) -> Any:
    """Return nested dataclasses and tuples with matrices that have shapes alone."""
    if isinstance(item, Tensor):
        return item if item.dim() < 2 else torch.empty_like(item, device="meta")
    if isinstance(item, tuple):
        return tuple(without_values(part) for part in item)
    if is_dataclass(item) and not isinstance(item, type):
        parts = {field.name: without_values(getattr(item, field.name)) for field in fields(item)}
        return replace(item, **parts)
    return item
