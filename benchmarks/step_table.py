"""The rows of `benchmarks.real`: steps beside their floors, and those that do not fit."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from acdc_pipeline.errors import OutOfMemoryBudget
from benchmarks.measurement import peak_bytes

GIB = 2**30
RATE_SIZE = 2048
FETCHED = 2**28


def is_out_of_memory(error: Exception) -> bool:
    """Whether `error` says that memory is used up, the budget of a search included."""
    if isinstance(error, MemoryError | OutOfMemoryBudget):
        return True
    return isinstance(error, RuntimeError) and "allocate" in str(error)


class Table:
    """Rows of the report, printed as they are measured.

    Args:
        rate: operations per second.
        bandwidth: bytes fetched per second.
        longest: seconds; a step with a longer floor is not run.
    """

    def __init__(self, rate: float, bandwidth: float, longest: float = math.inf) -> None:
        self.rate, self.bandwidth = rate, bandwidth
        self.longest = longest
        header = f"{'step':<38}{'GFLOP':>8}{'floor s':>9}{'fetch s':>9}{'seconds':>9}{'factor':>8}"
        print(f"{header}{'peak GiB':>10}")

    def measure(
        self,
        step: str,
        operations: float,
        run: Callable[[], Any],
        repeats: int = 1,
        fetched: float = 0.0,
    ) -> Any:
        """Time a step (median) and print its row; what it returned last, or None if it cannot run.

        A step cannot run that takes longer than `longest`, or more memory than there is.

        Args:
            fetched: bytes that it cannot do without, each counted once; 0 where nobody counted.
        """
        floor = operations / self.rate
        fetch = f"{fetched / self.bandwidth:>9.3f}" if fetched else f"{'-':>9}"
        start = f"{step:<38}{operations / 1e9:>8,.0f}{floor:>9.3f}{fetch}"
        if floor > self.longest:
            print(f"{start}  not run: its floor is above --longest {self.longest:g}", flush=True)
            return None
        _reset_peak()
        seconds, out = [], None
        try:
            for _ in range(repeats):
                started = time.perf_counter()
                out = run()
                seconds.append(time.perf_counter() - started)
        except (MemoryError, OutOfMemoryBudget, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            print(f"{start}  does not fit: {' '.join(str(error).split())}", flush=True)
            return None
        took = statistics.median(seconds)
        factor = f"{took / floor:>7.1f}x" if floor else f"{'-':>8}"
        print(f"{start}{took:>9.3f}{factor}{_peak() / GIB:>10.2f}", flush=True)
        return out


def matrix_rate() -> float:
    """Operations per second of a large square product, the best of several."""
    a = torch.randn(RATE_SIZE, RATE_SIZE)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - started)
    return 2.0 * RATE_SIZE**3 / best


def fetch_rate() -> float:
    """Bytes per second at which memory is read, the best of several sums over a large block."""
    block = torch.ones(FETCHED // 4)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        block.sum()
        best = min(best, time.perf_counter() - started)
    return FETCHED / best


def limit_memory(most: int) -> None:
    """Make allocations fail beyond `most` bytes, so that a step says so; not on every system."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(
            resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1])
        )


def _reset_peak() -> None:
    """Forget the peak of resident memory so far, where the system lets a process do so."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return peak_bytes(torch.device("cpu"))
