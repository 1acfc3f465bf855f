"""What a consensus costs beside one search: the searches alone, and the whole command.

And what is in it: multiply-adds of products, and circuits that more than one search tests.

Run: python -m benchmarks.consensus [TASK MODEL] [--threshold T] [--searches N] [--repeats N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from unittest import mock

import torch

from acdc_pipeline.algorithms import AcdcResult, acdc
from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.search.state_batch import CountedWork
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.execution.checkpoint import BoundCheckpoint, NoCheckpoint
from acdc_pipeline.execution.consensus_run import FoundConsensus, find_consensus, run_searches
from acdc_pipeline.execution.consensus_searches import ConsensusSearches
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Edge
from acdc_pipeline.specs import AcdcMethod, find_task, method_for


def main() -> None:
    """Measure both sides in turn, and print medians of CPU seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="?", default="ioi")
    parser.add_argument("model", nargs="?", default="zoo:gpt2-4l-s0")
    parser.add_argument("--threshold", type=float, default=0.01)
    parser.add_argument("--searches", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    bench, chosen, budget = _prepare(given)
    print(f"{given.task} in {given.model}, threshold {given.threshold:g}, CPU seconds, medians")
    sides = {
        "one": lambda: _one(bench, chosen, budget),
        "many": lambda: _many(bench, chosen, budget),
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*sides, "command", "command many")}
    one, many = _one(bench, chosen, budget), _many(bench, chosen, budget)  # both once, unmeasured
    for _ in range(given.repeats):
        for name, run in sides.items():
            seconds[name].append(_cpu(run))
        seconds["command"].append(_command(given, 0))
        seconds["command many"].append(_command(given, given.searches))
    _print(given, {name: statistics.median(of) for name, of in seconds.items()}, one, many)
    _count(bench, chosen, budget)


def _prepare(given: argparse.Namespace) -> tuple[Bench, AcdcMethod, int]:
    task = find_task(given.task)
    values = {"threshold": given.threshold, "consensus": given.searches}
    method = method_for("acdc", values, task, where="benchmark")
    assert isinstance(method, AcdcMethod)
    run = plan_run(task, given.model, method=method, prompts=64, seed=0, dtype="float32")
    worker = Worker(device="cpu")
    return worker.bench(run, task), method, worker.budget


def _one(bench: Bench, method: AcdcMethod, budget: int) -> AcdcResult:
    search = bench.search(objective_for(bench, method.metric), memory=budget)
    with torch.no_grad():
        return acdc(
            search,
            bench.weights.topology,
            threshold=method.threshold,
            order=method.order,
            difference=method.difference,
        )


def _many(bench: Bench, method: AcdcMethod, budget: int) -> tuple[FoundConsensus, int]:
    """The consensus, and the states that its searches evaluated."""
    searches = ConsensusSearches(bench, method, 0, budget)
    found = find_consensus(searches)
    return found, searches.states_evaluated - found.stand_in_states


def _count(bench: Bench, method: AcdcMethod, budget: int) -> None:
    """Print the multiply-adds of the searches beside those of one, and how many circuits differ."""
    work, count = [0], CountedWork.count_product

    def counted(batch: CountedWork, rows_per_state: int, weights: int) -> None:
        work[0] += batch.n_states * rows_per_state * weights
        count(batch, rows_per_state, weights)

    with mock.patch.object(CountedWork, "count_product", counted):
        ConsensusSearches(bench, method, 0, budget).run(0)
        one, work[0] = work[0], 0
        logs = run_searches(
            ConsensusSearches(bench, method, 0, budget), BoundCheckpoint(NoCheckpoint(), {}), None
        )
    tested: set[frozenset[Edge]] = set()
    for log in logs:
        removed: frozenset[Edge] = frozenset()
        for decision in log:
            circuit = removed | {decision.edge}
            tested.add(circuit)
            removed = circuit if decision.removed else removed
    print(f"multiply-adds: {one / 1e9:.1f}e9 and {work[0] / 1e9:.1f}e9, {work[0] / one:.1f} times")
    print(f"circuits tested: {sum(map(len, logs)):,}, of which {len(tested):,} differ")


def _cpu(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def _command(given: argparse.Namespace, searches: int) -> float:
    """CPU seconds of `acdc discover` in a process of its own, from start to end."""
    words = [sys.executable, "-m", "acdc_pipeline", "discover", given.task, given.model]
    words += ["--threshold", f"{given.threshold}", "--threads", "1"]
    words += ["--consensus", f"{searches}"] if searches else []
    with tempfile.TemporaryDirectory() as store:
        before = os.times()
        subprocess.run([*words, "--store", store], check=True, capture_output=True)
        after = os.times()
    started = before.children_user + before.children_system
    return after.children_user + after.children_system - started


def _print(
    given: argparse.Namespace,
    seconds: dict[str, float],
    one: AcdcResult,
    found: tuple[FoundConsensus, int],
) -> None:
    many, in_searches = found
    work = many.details["consensus"]
    one_text = f"{len(one.decisions):,} edges tested, {len(one.circuit)} kept"
    print(f"one search:        {seconds['one']:7.2f} s  {one_text}")
    ratio = seconds["many"] / seconds["one"]
    print(f"{given.searches} searches:       {seconds['many']:7.2f} s  {ratio:.1f} times")
    stand_ins, states = len(work["stand_in_searches"]), many.stand_in_states
    print(
        f"                   {many.details['edges_tested']:,} edges tested in "
        f"{in_searches:,} states; {stand_ins} searches for stand-ins, {states:,} "
        f"states; {work['circuits_measured']} circuits measured"
    )
    ratio = seconds["command many"] / seconds["command"]
    print(f"command, one:      {seconds['command']:7.2f} s  from start to end")
    print(f"command, {given.searches}:       {seconds['command many']:7.2f} s  {ratio:.1f} times")


if __name__ == "__main__":
    main()
