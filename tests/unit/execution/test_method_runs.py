"""Runs of every method, through a worker and a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.specs import METHODS, ScoredMethod, TaskSpec, find_task, method_for
from acdc_pipeline.store import RunRecord, open_store
from acdc_pipeline.workflows.discovery import discover_into
from tests import checkpoints

ASKED: dict[str, dict[str, Any]] = {
    "acdc": {"threshold": 0.05},
    "eap-ig-acdc": {"threshold": 0.05, "screen": 0.5},
    "edge-pruning": {"steps": 3, "share": 0.3},
    "eap-ig-edge-pruning": {"steps": 3, "share": 0.3},
    "subnetwork-probing": {"steps": 3, "share": 0.3},
    "hybrid-ensemble": {"steps": 3, "share": 0.3},
    "node-pruning": {"steps": 3, "share": 0.3},
}


@pytest.fixture
def task(tmp_path: Path) -> TaskSpec:
    tokens = torch.randint(checkpoints.VOCAB, (3, 2, 6), generator=torch.Generator().manual_seed(1))
    lines = [
        json.dumps({"clean": clean, "corrupted": corrupted, "correct": 3, "incorrect": [4]})
        for clean, corrupted in tokens.tolist()
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(lines))
    return find_task(path)


def executed(task: TaskSpec, folder: Path, name: str, **asked: Any) -> RunRecord:
    directory = folder / "model"
    if not directory.exists():
        checkpoints.gpt2(directory)
    given = ASKED.get(name, {"share": 0.3}) | asked
    method = method_for(name, given, task, where="test")
    run = plan_run(task, f"dir:{directory}", method=method, prompts=3, seed=0, dtype="float64")
    return discover_into(
        open_store(folder / "s", mode="write"), run, task, lambda: Worker(device="cpu")
    )[0]


@pytest.mark.parametrize("name", METHODS)
def test_run_of_every_method_reads_back_as_it_was_found(name: str, task: TaskSpec, tmp_path: Path):
    record = executed(task, tmp_path, name)
    store = open_store(tmp_path / "s")
    assert store.get(record.spec.run_id()) == record
    assert record.circuit is not None
    assert record.circuit.edges
    assert bool(record.decisions) == (name in ("acdc", "eap-ig-acdc"))
    assert {"kl", "model_accuracy", "ablated_kl"} <= record.metrics.keys()


@pytest.mark.parametrize("name", [n for n in METHODS if issubclass(METHODS[n], ScoredMethod)])
def test_stored_scores_give_the_stored_circuit_and_those_of_other_sizes(
    name: str, task: TaskSpec, tmp_path: Path
):
    record = executed(task, tmp_path, name)
    circuit, method = record.circuit, record.spec.method
    assert circuit is not None
    assert isinstance(method, ScoredMethod)
    topology = circuit.topology
    assert circuit.scores.keys() == topology.edge_set
    size = method.size(topology.n_edges)
    assert cut(topology, circuit.scores, edges=size, rank=method.ranking) == circuit
    assert len(circuit) <= size
    smaller = cut(topology, circuit.scores, edges=size // 2, rank=method.ranking)
    assert smaller.edges <= circuit.edges


def test_run_of_a_search_on_a_screen_tests_no_more_than_the_screen(task: TaskSpec, tmp_path: Path):
    record = executed(task, tmp_path, "eap-ig-acdc")
    assert record.circuit is not None
    total = record.circuit.topology.n_edges
    left = total - record.details["edges_screened_out"]
    assert 0 < left <= round(0.5 * total)
    assert record.details["edges_tested"] == len(record.decisions) <= left
    assert record.details["recheck_error"] < 1e-12


def test_screen_that_holds_no_path_is_refused(task: TaskSpec, tmp_path: Path):
    with pytest.raises(InvalidInput, match="hold no path from input to logits") as raised:
        executed(task, tmp_path, "eap-ig-acdc", screen=1e-9)
    assert raised.value.field == "screen"
