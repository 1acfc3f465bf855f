"""Drivers that share a store, as threads of this process, with workers that compute nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from acdc_pipeline.execution.checkpoint import Checkpoint
from acdc_pipeline.execution.executor import LocalExecutor
from acdc_pipeline.execution.progress import Progress, SilentSweep
from acdc_pipeline.execution.runs import Outcome, PlannedRun
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord, open_store
from tests import records


class Recording:
    """Executes a run by `work`, and writes down which."""

    def __init__(self, work: Callable[[RunSpec], None] = lambda run: None) -> None:
        self.work = work
        self.executed: list[str] = []

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        self.executed.append(run.run_id())
        self.work(run)
        base = records.record()
        return RunRecord(run, base.circuit, base.decisions, base.metrics, {}, 0.0, {})


def check_two_drivers(url: str, runs: Sequence[PlannedRun]) -> None:
    """Two drivers at once: each run is executed by one, and both end with all of them."""
    both_at_work = threading.Barrier(2)

    def wait_at_first(number: int) -> None:
        if len(workers[number].executed) == 1:
            both_at_work.wait(timeout=60)

    workers = [Recording(lambda _, n=n: wait_at_first(n)) for n in range(2)]
    outcomes: dict[int, list[Outcome]] = {}

    def drive(number: int) -> None:
        executor = LocalExecutor(lambda: workers[number])
        outcomes[number] = list(executor.execute(runs, open_store(url), SilentSweep()))

    threads = [threading.Thread(target=drive, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run_ids = sorted(run.run_id for run in runs)
    assert sorted(workers[0].executed + workers[1].executed) == run_ids
    for number in range(2):
        states = {o.planned.run_id: o.state for o in outcomes[number]}
        assert sorted(states) == run_ids
        committed = [run_id for run_id, state in states.items() if state == "committed"]
        assert sorted(committed) == sorted(workers[number].executed)
    store = open_store(url)
    assert store.run_ids() == run_ids
    assert [name for name in store.backend.names("claims") if name.endswith(".json")] == []
