"""Runs whose prompts are spread: the same bytes for every number of workers, and after deaths."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from acdc_pipeline.engine.search.subgraph_search import SubgraphSearch
from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.execution.checkpoint import Checkpoint
from acdc_pipeline.execution.methods import SharedWork
from acdc_pipeline.execution.out_of_memory import is_out_of_memory
from acdc_pipeline.execution.shards import process
from acdc_pipeline.execution.shards.messages import WorkerDied
from acdc_pipeline.execution.shards.shard import Shard
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Decision
from acdc_pipeline.specs import TaskSpec
from acdc_pipeline.specs.own_metric import Metric
from acdc_pipeline.store.failure import RemoteFailure, failure_of
from tests.shard_channels import Deaths, planned, random_task, sharded_worker, stored

ACDC = ("acdc", {"threshold": 0.01, "metric": "kl"})


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TaskSpec:
    return random_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def undisturbed(task: TaskSpec) -> dict[str, bytes]:
    """What one worker stores of a search by ACDC."""
    return stored(sharded_worker(1).execute(planned(task, "gpt2", *ACDC), task))


@pytest.fixture(scope="module")
def often_recomputed(task: TaskSpec) -> dict[str, bytes]:
    """The same with many points from which a search can be resumed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SubgraphSearch, "recompute_after", 20)
        return stored(sharded_worker(1).execute(planned(task, "gpt2", *ACDC), task))


# Changes along edges; heads that move one another.
@pytest.mark.parametrize(
    ("model", "ablation"), [("gpt2", "corrupted"), ("gpt2", "mean"), ("gemma2", "corrupted")]
)
def test_search_over_any_number_of_workers_is_the_same_and_that_of_all_prompts(
    task: TaskSpec, model: str, ablation: str
):
    run = planned(task, model, "acdc", ACDC[1] | {"ablation": ablation})
    one, many = (sharded_worker(n).execute(run, task) for n in (1, 5))
    assert stored(many) == stored(one)
    together = Worker(device="cpu").execute(run, task)
    assert [d.edge for d in one.decisions] == [d.edge for d in together.decisions]
    assert one.circuit is not None
    assert together.circuit is not None
    assert one.circuit.edges == together.circuit.edges
    for ours, theirs in zip(one.decisions, together.decisions, strict=True):
        assert ours.metric_after == pytest.approx(theirs.metric_after, rel=1e-9, abs=1e-12)
    assert one.metrics == pytest.approx(together.metrics, rel=1e-9, abs=1e-12)
    assert one.details["warnings"] == together.details["warnings"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("eap", {"metric": "logit_diff"}),
        ("eap-ig-activations", {"steps": 2}),
        ("exact", {}),
        ("eap-ig-acdc", {"threshold": 0.01, "screen": 0.5, "steps": 2}),
        ("eap-ig-inputs", {"steps": 2, "rounds": 3}),
        ("node-exact", {}),
        ("hisp", {"metric": "logit_diff"}),
        ("edge-pruning", {"steps": 4}),
        ("atp-star", {"metric": "logit_diff"}),
        ("conductance", {"steps": 2}),
        ("hybrid-ensemble", {"metric": "logit_diff", "points": 2, "steps": 3}),
        ("subnetwork-probing", {"steps": 4}),
        ("node-pruning", {"steps": 4}),
        ("random", {}),
    ],
)
def test_scores_over_any_number_of_workers_are_the_same_and_those_of_all_prompts(
    task: TaskSpec, name: str, given: dict[str, Any]
):
    run = planned(task, "gpt2", name, given)
    one, three = (sharded_worker(n).execute(run, task) for n in (1, 3))
    assert stored(three) == stored(one)
    together = Worker(device="cpu").execute(run, task)
    assert one.circuit is not None
    assert together.circuit is not None
    ours, theirs = one.circuit.scores, together.circuit.scores
    assert ours.keys() == theirs.keys()
    assert list(ours.values()) == pytest.approx(list(theirs.values()), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("before", [True, False])
def test_search_whose_workers_die_goes_on_with_the_same_bits(
    task: TaskSpec, undisturbed: dict[str, bytes], before: bool
):
    run = planned(task, "gpt2", *ACDC)
    at = {0: [0, 9], 1: [4, 30]}
    deaths, messages = Deaths(at, before=before), []
    record = sharded_worker(2, deaths, messages.append).execute(run, task)
    assert deaths.died == len(messages) == sum(map(len, at.values()))
    assert stored(record) == undisturbed


def test_search_whose_worker_dies_every_time_fails_and_says_why(task: TaskSpec):
    run = planned(task, "gpt2", *ACDC)
    worker = sharded_worker(2, Deaths({1: range(5, 1000)}))
    with pytest.raises(ExecutionFailed, match=r"worker 2 of 2 died 4 times.*the test ended it"):
        worker.execute(run, task)


def test_search_whose_workers_die_between_two_recomputations_goes_on_with_the_same_bits(
    task: TaskSpec, often_recomputed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(SubgraphSearch, "recompute_after", 20)
    run = planned(task, "gpt2", *ACDC)
    deaths = Deaths({0: [7, 32], 1: [20, 50], 2: [45]})
    assert stored(sharded_worker(3, deaths).execute(run, task)) == often_recomputed
    assert deaths.died == 5


class Interrupted(Exception):
    """Ends a search on the way."""


class Kept(Checkpoint):
    """A checkpoint in memory, which interrupts the search when it has enough."""

    def __init__(self, most: float) -> None:
        self.most = most
        self.decisions: Sequence[Decision] = ()
        self.conditions: Mapping[str, str] = {}

    def load(self, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
        return tuple(self.decisions) if conditions == self.conditions else ()

    def offer(self, decisions: Sequence[Decision], conditions: Mapping[str, str]) -> None:
        self.decisions, self.conditions = decisions, conditions
        if len(decisions) > self.most:
            raise Interrupted


def test_search_resumed_by_another_number_of_workers_has_the_same_bits(
    task: TaskSpec, often_recomputed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(SubgraphSearch, "recompute_after", 20)
    run = planned(task, "gpt2", *ACDC)
    kept = Kept(15)
    worker = sharded_worker(3)
    with pytest.raises(Interrupted):
        worker.execute(run, task, checkpoint=kept)
    assert len(kept.decisions) > 15
    kept.most = math.inf
    # The worker that was interrupted is fit for the next run.
    for each in (sharded_worker(2), worker):
        assert stored(each.execute(run, task, checkpoint=kept)) == often_recomputed


def test_thresholds_that_share_decisions_have_the_bits_of_searches_alone(
    task: TaskSpec, undisturbed: dict[str, bytes]
):
    worker, shared = sharded_worker(2), SharedWork()
    for threshold in (0.02, 0.01):
        run = planned(task, "gpt2", "acdc", ACDC[1] | {"threshold": threshold})
        record = stored(worker.execute(run, task, shared=shared))
    assert record == undisturbed
    assert shared.decisions is not None
    assert shared.decisions.replayed > 0


def test_bug_in_a_worker_is_the_failure_of_the_run_with_the_traceback_there(
    task: TaskSpec, monkeypatch: pytest.MonkeyPatch
):
    run = planned(task, "gpt2", *ACDC)
    monkeypatch.setattr(SubgraphSearch, "_propagate", lambda self, batch: batch.no_such_thing)
    with pytest.raises(RemoteFailure) as raised:
        sharded_worker(2).execute(run, task)
    failure = failure_of(run, raised.value, worker="local")
    assert failure.kind == "AttributeError"
    assert "no_such_thing" in failure.problem
    assert any("subgraph_search.py" in line for line in failure.traceback)
    assert failure.traceback[-1].startswith("AttributeError")
    assert pickle.loads(pickle.dumps(raised.value)).args == raised.value.args


def test_error_in_a_worker_keeps_its_class_and_its_parts(task: TaskSpec):
    run = planned(task, "gpt2", *ACDC)
    with pytest.raises(ExecutionFailed, match=r"the files of .* changed since") as raised:
        sharded_worker(2).execute(run.model_copy(update={"model_revision": "other"}), task)
    assert raised.value.fix == "run the command again"


def test_prompts_beyond_the_budget_of_a_worker_are_spilled_with_the_same_bytes(task: TaskSpec):
    run = planned(task, "gpt2", *ACDC)
    shard = Shard("cpu", 1)
    shard.prepare(run, task, 2**30, 0, 1)
    sizes = [group.bench.memory_plan().sources for group in shard.groups]
    shard.prepare(run, task, max(sizes), 0, 1)
    assert {group.bench.spill is not None for group in shard.groups} == {True}
    shard.prepare(run, task, max(sizes), 0, len(sizes))
    assert {group.bench.spill is not None for group in shard.groups} == {False}
    found = []
    for shards in (1, len(sizes)):
        worker = sharded_worker(shards)
        worker.memory = max(sizes)
        found.append(stored(worker.execute(run, task)))
    assert found[0] == found[1]


def test_metric_of_ones_own_runs_on_one_worker(task: TaskSpec):
    deaths, messages = Deaths({}), []
    own = Metric("first", lambda logprobs, answers: logprobs[:, 0], version=1)
    run = planned(task, "gpt2", "exact", {"metric": own.key})
    worker = sharded_worker(2, deaths, messages.append, own_metric=own)
    alone = Worker(device="cpu", own_metric=own)
    assert stored(worker.execute(run, task)) == stored(alone.execute(run, task))
    assert not deaths.sent
    worker.execute(run, task)  # of which nothing new is said
    assert messages == ["this run of 'exact' cannot be spread: one worker computes it"]


@pytest.mark.parametrize("kills", [3, 4])
def test_worker_killed_by_the_kernel_for_want_of_memory_is_no_ordinary_death(
    monkeypatch, tmp_path, kills
):
    events = tmp_path / "vmstat"
    events.write_text("pgfault 70\noom_kill 3\n")
    monkeypatch.setattr(process, "KERNEL_EVENTS", events)
    channel = process.ProcessChannel("cpu", 1)
    channel.process.kill()
    events.write_text(f"pgfault 70\noom_kill {kills}\n")
    with pytest.raises((WorkerDied, RemoteFailure)) as caught:
        channel.receive()
    assert is_out_of_memory(caught.value) == (kills > 3)
    channel.close()
