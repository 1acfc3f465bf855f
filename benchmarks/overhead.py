"""What it costs to execute a run on Ray: `python -m benchmarks.overhead` on a quiet machine.

Trivial runs through a driver and its workers, committed to a local store, then all of them once
more, when the store has them; and the same commits without Ray, in one process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.store import Store, open_store
from benchmarks.trivial import make_trivial, record_of, trivial_runs
from benchmarks.watched import Watch, executed

MIB = 2**20


def dispatch(count: int, workers: int, folder: Path) -> None:
    """Prints how many trivial runs a second, and how the driver's memory grows."""
    print(f"{count} trivial runs, {workers} workers, store in {folder}")
    runs = trivial_runs(count)
    tenths = frozenset(count * tenth // 10 for tenth in range(1, 11))
    store = open_store(folder / "ray", mode="write")
    first = executed(runs, store, workers, make_trivial, Watch(tenths))
    print(f"committed      {first.runs_per_second:8.0f} runs/s")
    sizes = "  ".join(f"{size / MIB:.0f}" for size in first.resident.values())
    print(f"driver, MiB resident at 10 %, 20 %, … 100 %: {sizes}")
    again = executed(runs, store, workers, make_trivial, Watch())
    print(f"found there    {again.runs_per_second:8.0f} runs/s")
    commits(runs[: min(count, 500)], open_store(folder / "alone", mode="write"))


def commits(runs: list[PlannedRun], store: Store) -> None:
    """Prints what a commit costs in one process, and how much of it is waiting for the disk."""
    records = [record_of(planned.run) for planned in runs]
    with counted_syncs() as syncs:
        started = time.perf_counter()
        for record in records:
            store.commit(record)
        seconds = time.perf_counter() - started
    print(
        f"commit alone   {len(runs) / seconds:8.0f} runs/s in one process: "
        f"{1e3 * seconds / len(runs):.2f} ms each, of which {1e3 * sum(syncs) / len(runs):.2f} ms "
        f"in {len(syncs) / len(runs):.0f} fsyncs"
    )


@contextmanager
def counted_syncs() -> Iterator[list[float]]:
    """The seconds that each fsync of this process takes meanwhile."""
    seconds: list[float] = []
    real = os.fsync

    def timed(descriptor: int) -> None:
        started = time.perf_counter()
        real(descriptor)
        seconds.append(time.perf_counter() - started)

    os.fsync = timed
    try:
        yield seconds
    finally:
        os.fsync = real


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="on the disk to use")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="overhead-", dir=options.folder))
    try:
        dispatch(options.runs, options.workers, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
