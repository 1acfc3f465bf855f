"""The search for a faithful circuit over workers: the same trials for every number of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.workflows.faithful import FaithfulRun, discover_faithful
from tests.shard_channels import Deaths, planned, random_task, sharded_worker, stored


@pytest.mark.parametrize(
    ("method", "given"), [("acdc", {"threshold": 0.01}), ("eap", {"edges": 12})]
)
def test_faithful_circuit_over_any_number_of_workers_is_the_same(
    method: str, given: dict[str, Any], tmp_path: Path
):
    task = random_task(tmp_path)
    run = planned(task, "gpt2", method, given)

    def search(worker: Any) -> FaithfulRun:
        return discover_faithful(run, task, 0.8, None, lambda: worker)

    one, deaths = search(sharded_worker(1)), Deaths({1: (3,)})
    three = search(sharded_worker(3, deaths))
    assert deaths.died
    assert three.trials == one.trials
    assert stored(three.record) == stored(one.record)
    together = search(Worker(device="cpu", memory=2**30))
    assert [trial.edges for trial in together.trials] == [trial.edges for trial in one.trials]
    assert together.record.circuit == one.record.circuit
