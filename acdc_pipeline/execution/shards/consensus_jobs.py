"""The searches of a consensus as jobs, each a group of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from acdc_pipeline.execution.consensus_searches import ConsensusSearches, Log
from acdc_pipeline.execution.shards.circuit_jobs import RunJobs, subject_of
from acdc_pipeline.execution.shards.shard import Shard
from acdc_pipeline.specs import AcdcMethod


class ConsensusJobs:
    """Runs groups of searches in other workers, with the bits that one process would have.

    Args:
        jobs: on the run whose method is a consensus.
    """

    def __init__(self, jobs: RunJobs) -> None:
        self._jobs = jobs

    def submit(self, numbers: Sequence[int], first: Log) -> Future[list[Log]]:
        """Let a worker run some searches, predicted by the decisions of the first of all."""
        return self._jobs.submit(run_group, list(numbers), first)

    def close(self) -> None:
        """End the workers."""
        self._jobs.pool.close()


def run_group(shard: Shard, numbers: Sequence[int], first: Log) -> list[Log]:
    """The decisions of some searches of a consensus."""
    worker, run, task = subject_of(shard)
    assert isinstance(run.method, AcdcMethod)
    searches = ConsensusSearches(worker.bench(run, task), run.method, run.seed, worker.budget)
    return searches.run_group(numbers, first)
