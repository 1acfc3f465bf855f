"""Runs whose prompts have one span for all tokens: stored bytes beside those without positions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import METHODS, RunSpec, TaskSpec, method_for
from acdc_pipeline.store import RunRecord
from acdc_pipeline.store.tables import edges_table, steps_table
from tests import checkpoints, tiny_models
from tests.shard_channels import sharded_worker

ASKED: dict[str, dict[str, Any]] = {
    "acdc": {"threshold": 0.05},
    "eap-ig-acdc": {"threshold": 0.05, "screen": 0.5},
    "edge-pruning": {"steps": 3, "share": 0.3},
    "eap-ig-edge-pruning": {"steps": 3, "share": 0.3},
    "subnetwork-probing": {"steps": 3, "share": 0.3},
    "hybrid-ensemble": {"steps": 3, "share": 0.3},
}
POSITIONAL = [name for name in METHODS if METHODS[name].POSITIONAL]


def _task(lengths: list[int], ends: bool = False) -> TaskSpec:
    generator = torch.Generator().manual_seed(1)
    sides = [torch.randint(checkpoints.VOCAB, (2, n), generator=generator) for n in lengths]
    return TaskSpec.from_pairs(
        {
            "clean": clean,
            "corrupted": corrupted,
            "correct": 3,
            "incorrect": [4],
            "spans": {"all": list(range(len(clean) - ends))},
        }
        for clean, corrupted in (side.tolist() for side in sides)
    )


def _planned(model: str, task: TaskSpec, method: str, **asked: Any) -> list[RunSpec]:
    """The run without positions and with the spans of the task."""
    return [
        plan_run(
            task,
            f"dir:{tiny_models.folder(model)}",
            method=method_for(method, ASKED.get(method, {"share": 0.3}), task, where="test"),
            prompts=6,
            seed=0,
            dtype="float32",
            positions=positions,
            **asked,
        )
        for positions in ("none", "spans")
    ]


def _assert_equal_but_for_spans(plain: RunRecord, one: RunRecord) -> None:
    assert one.circuit is not None
    assert plain.circuit is not None
    assert one.circuit.topology.spans == ("all",)
    assert one.metrics == plain.metrics
    assert one.circuit.collapse() == plain.circuit
    assert len(one.decisions) == len(plain.decisions)
    tables = [(edges_table("", one.circuit), edges_table("", plain.circuit))]
    if plain.decisions:
        tables.append((steps_table(one.decisions), steps_table(plain.decisions)))
    for with_span, without in tables:
        assert set(with_span["span"].to_pylist()) == {"all"}
        assert with_span.drop_columns("span").equals(without)


@pytest.mark.parametrize("model", ["gpt2", "olmo2"])
@pytest.mark.parametrize("method", POSITIONAL)
def test_every_method_stores_the_bytes_of_the_run_without_positions(method: str, model: str):
    worker, task = Worker(device="cpu", memory=2**28), _task([6, 4, 5])
    records = [worker.execute(run, task) for run in _planned(model, task, method)]
    _assert_equal_but_for_spans(*records)


@pytest.mark.parametrize("method", ["acdc", "eap", "exact"])
def test_spread_runs_too(method: str):
    task = _task([5] * 6)
    records = [sharded_worker(2).execute(run, task) for run in _planned("gpt2", task, method)]
    _assert_equal_but_for_spans(*records)


def test_spread_run_with_several_spans_has_the_graph_of_one_process():
    task = _task([5, 6] * 5, ends=True)
    _, run = _planned("gpt2", task, "acdc")
    spread, alone = (w.execute(run, task) for w in (sharded_worker(2), Worker(device="cpu")))
    assert spread.circuit is not None
    assert spread.circuit.topology.spans == ("all", "END")
    assert [d.edge for d in spread.decisions] == [d.edge for d in alone.decisions]
    assert [d.metric_after for d in spread.decisions] == pytest.approx(
        [d.metric_after for d in alone.decisions], abs=1e-5
    )
