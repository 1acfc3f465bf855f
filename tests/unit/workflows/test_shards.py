"""When a worker spreads its runs over processes, and what is refused before one is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline import discover, evaluate, profile_heads
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.progress import SilentSweep
from acdc_pipeline.execution.shards.jobs import JobPool
from acdc_pipeline.execution.shards.local import devices_of_shards
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.models import load_model
from acdc_pipeline.specs import RunSpec
from acdc_pipeline.store import RunRecord, open_store
from acdc_pipeline.workflows import discovery, executors
from acdc_pipeline.workflows.shards import spread
from acdc_pipeline.workflows.stored_evaluation import evaluation_figures
from acdc_pipeline.workflows.sweep import plan_sweep
from tests import records, sweeps, tiny_models
from tests.shard_channels import pool_of


def no_worker() -> Worker:
    raise AssertionError("no worker is needed")


def test_without_shards_the_worker_is_that_of_this_process():
    assert spread(no_worker, None) is no_worker


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"shards": 0}, "shards: 0 is too small"),
        ({"shards": 1001}, "shards: 1001 is too large"),
    ],
)
def test_spread_refuses_what_cannot_be_spread(given: dict[str, Any], error: str):
    with pytest.raises(InvalidInput, match=error):
        spread(no_worker, **given)


def test_a_filter_of_signs_is_refused_over_shards_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
):
    asked: dict[str, Any] = {"edges": 3, "prompts": 40, "sign_filter": 40, "device": "cpu"}
    monkeypatch.setattr(Worker, "execute", lambda *_, **__: no_worker())
    with pytest.raises(InvalidInput, match="in one process, not over 2 shards") as raised:
        discover("compiled_or", "zoo:compiled-or", "eap", shards=2, **asked)
    assert raised.value.field == "sign_filter"
    filtered = {"name": "eap-ig-inputs", "metric": "kl", "edges": 3, "sign_filter": 40}
    sweep = sweeps.sweep(tasks=["compiled_or"], models=["zoo:compiled-or"], methods=[filtered])
    with pytest.raises(InvalidInput, match="in one process, not over 2 shards"):
        plan_sweep(sweep, dtype="float32", spread_over=2)
    assert len(plan_sweep(sweep, dtype="float32").runs) == 1


def test_discover_in_a_model_in_memory_is_not_spread():
    model = load_model(f"dir:{tiny_models.folder('gpt2')}", dtype="float32", device="cpu")
    pair = {"clean": [0, 1], "corrupted": [2, 1], "correct": 3}
    with pytest.raises(InvalidInput, match="a model in memory cannot be spread") as raised:
        discover([pair], model, threshold=0.1, shards=2)
    assert "save_pretrained" in str(raised.value.fix)


def test_gpus_are_one_for_each_worker():
    assert devices_of_shards("cuda", 3, gpus=4) == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices_of_shards("cpu", 3, gpus=4) == ["cpu"] * 3
    with pytest.raises(InvalidInput, match="3 workers need a GPU each, and this machine has 2"):
        devices_of_shards("cuda", 3, gpus=2)
    with pytest.raises(InvalidInput, match="one device each"):
        devices_of_shards("cuda:0-1", 2, gpus=4)


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[JobPool]:
    """The pools that functions of the package make, whose workers are in this process."""
    made: list[JobPool] = []

    def make(shards: int | None, *_: object) -> JobPool | None:
        if shards is None:
            return None
        made.append(pool_of(shards))
        return made[-1]

    monkeypatch.setattr(discovery, "make_pool", make)
    return made


def test_evaluations_from_python_have_the_same_figures_over_any_number_of_workers(
    pools: list[JobPool],
):
    task, model = "compiled_or", "zoo:compiled-or"
    asked: dict[str, Any] = {"null": 6, "device": "cpu", "memory": 2**28}
    circuit = discover(task, model, "eap", edges=3, prompts=4, device="cpu")
    one, two = (evaluation_figures(circuit.evaluate(shards=n, **asked)) for n in (1, 2))
    assert one == two
    part = circuit.without([circuit.strongest(1)[0]])
    assert part.evaluate(shards=2, **asked).null
    assert evaluate(circuit, task, model, shards=2, prompts=4, **asked).null
    assert [pool.size for pool in pools] == [1, 2, 2, 2]
    assert all(pool.done for pool in pools)


def test_head_profiles_from_python_are_the_same_over_workers(pools: list[JobPool]):
    given: dict[str, Any] = {"prompts": 2, "device": "cpu", "memory": 2**28}
    (alone,) = profile_heads("zoo:compiled-or", "compiled_or", **given)
    (spread_out,) = profile_heads("zoo:compiled-or", "compiled_or", shards=2, **given)
    assert replace(spread_out, wall_seconds=0.0) == replace(alone, wall_seconds=0.0)
    assert [pool.size for pool in pools] == [2]
    assert all(pool.done for pool in pools)


def test_worker_profile_of_an_evaluation_has_to_have_shards():
    with pytest.raises(InvalidInput, match="worker profile laptop: is for one worker"):
        discovery.worker_factory(profile="laptop")


def test_listener_of_a_sweep_hears_what_its_spread_worker_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    heard: list[str] = []

    class Listener(SilentSweep):
        def waiting(self, reason: str) -> None:
            heard.append(reason)

    class Reports:
        def __init__(self, report: Callable[[str], None]) -> None:
            self.report = report

        def execute(self, run: RunSpec, *_: object) -> RunRecord:
            self.report("worker 2 of 2 died")
            return records.record(run.seed)

    def spread(*_: object, report: Callable[[str], None], **__: object) -> Callable[[], Reports]:
        return lambda: Reports(report)

    monkeypatch.setattr(executors, "spread", spread)
    settings = executors.execution_settings("laptop", shards=2, threads=1)
    runs = [sweeps.planned(0), sweeps.planned(1)]
    outcomes = executors.make_executor(settings).execute(runs, open_store(tmp_path), Listener())
    assert [outcome.state for outcome in outcomes] == ["committed"] * 2
    assert heard == ["worker 2 of 2 died"] * 2
