"""One side's result, and how it is taken."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Measurement:
    """A side's median time for one search, and what it found."""

    side: str
    threshold: float
    tested: int
    kept: frozenset[str]
    seconds: float
    repeats: int
    peak_bytes: int

    @property
    def edges_per_second(self) -> float:
        """Edges tested per second."""
        return self.tested / self.seconds


def timed(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median seconds of `run`."""
    seconds = []
    for _ in range(repeats):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def peak_bytes(device: torch.device) -> int:
    """The most memory this process has held: on the card, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def machine(device: torch.device) -> str:
    """What the numbers were taken on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.is_file() else [])
        if line.startswith("model name")
    ]
    return f"{names[0] if names else 'CPU'}, {torch.get_num_threads()} of {os.cpu_count()} cores"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
