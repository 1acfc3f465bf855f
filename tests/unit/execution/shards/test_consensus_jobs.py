"""A consensus over several workers stores what one process stores."""

from __future__ import annotations

from pathlib import Path

from acdc_pipeline.execution.worker import Worker
from tests.shard_channels import planned, random_task, sharded_worker, stored


def test_consensus_over_workers_has_the_bytes_of_one_process(tmp_path: Path):
    task = random_task(tmp_path, 6)
    run = planned(task, "gpt2", "acdc", {"threshold": 0.05, "consensus": 7})
    alone = stored(Worker(device="cpu", memory=2**28).execute(run, task))
    spread = stored(sharded_worker(2).execute(run, task))
    assert spread == alone
