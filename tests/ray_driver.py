"""A driver in a process of its own.

`python -m tests.ray_driver ADDRESS STORE NOTES ACTORS TOGETHER` begins when TOGETHER workers are
ready, those of other drivers included, and says `<state> <run id>` for each outcome as it comes.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from acdc_pipeline.execution.ray import RayExecutor
from acdc_pipeline.store import open_store
from tests import ray_workers
from tests.planned_runs import planned
from tests.ray_cluster import Log, profile

RUNS = [planned(model=f"zoo:m{m}", seed=seed) for m in range(4) for seed in range(25)]


def main() -> None:
    """Executes `RUNS`."""
    address, store, notes, actors, together = sys.argv[1:]
    executor = RayExecutor(
        profile(actors=int(actors)),
        address=address,
        worker_factory=partial(ray_workers.together, Path(notes), int(together)),
    )
    for outcome in executor.execute(RUNS, open_store(store, mode="write"), Log()):
        sys.stdout.write(f"{outcome.state} {outcome.planned.run_id}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
