"""Tasks in memory wherever a task is taken; their runs are those of the file of the same pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import acdc_pipeline
from acdc_pipeline import Circuit, Task, discover, evaluate, open_store, profile_heads
from acdc_pipeline.errors import PromptError, SpecError
from acdc_pipeline.specs import SweepSpec, load_yaml

MODEL = "zoo:attn-2l"
PAIRS = [
    {"clean": [5, 6, 7, 5], "corrupted": [8, 6, 7, 5], "correct": 6, "incorrect": [7]},
    {"clean": [9, 3, 4, 9], "corrupted": [8, 3, 4, 9], "correct": 3, "incorrect": [4]},
]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, PAIRS)), encoding="utf-8")
    return str(path)


def test_task_in_memory_finds_evaluates_and_profiles_what_its_file_does(file: str, tmp_path: Path):
    task, store = Task.from_pairs(PAIRS), tmp_path / "store"
    settings: Any = {"method": "eap", "device": "cpu", "progress": None, "store": store}
    ours, theirs = (discover(t, MODEL, **settings) for t in (task, file))
    assert ours.run.spec.prompts == 2
    assert ours.run_id == theirs.run_id
    assert open_store(store).run_ids() == [ours.run_id]
    circuit = Circuit(ours.topology, ours.edges)
    worth = [evaluate(circuit, t, MODEL, null=2, device="cpu") for t in (task, file)]
    assert worth[0] == worth[1]
    profiles = [profile_heads(MODEL, [t], device="cpu", store=store)[0] for t in (task, file)]
    assert profiles[0].spec.run_id() == profiles[1].spec.run_id()


def test_sweep_takes_tasks_in_memory_by_their_names(file: str, tmp_path: Path):
    text = "{{name: mine, tasks: [{}, {}], models: ['zoo:attn-2l'], methods: [{}]{}}}\n"
    rest = ", prompts: 8, seeds: [0]"
    path = tmp_path / "mine.yaml"
    path.write_text(text.format("in-memory", file, "{name: eap, share: 0.1}", rest))
    sweep = load_yaml(path, SweepSpec)
    task = Task.from_pairs(PAIRS, name="in-memory")
    result = acdc_pipeline.sweep(sweep, store=tmp_path / "store", tasks=[task], device="cpu")
    # Equal pairs are equal runs: there is one.
    (record,) = result.records
    assert (record.spec.task, result.errors) == ("in-memory", [])
    found = discover("induction", MODEL, method="random", prompts=2, device="cpu", progress=None)
    assert record.circuit is not None
    assert record.circuit.topology == found.topology
    other = Task.from_pairs(PAIRS, name="in-memori")
    with pytest.raises(SpecError, match="tasks: unknown task of the sweep 'in-memori'"):
        acdc_pipeline.sweep(sweep, store=tmp_path / "store", tasks=[other])


def test_pair_in_memory_that_does_not_fit_the_model_is_named_by_its_number():
    task = Task.from_pairs([PAIRS[0], PAIRS[1] | {"clean": [9, 3, 4]}], name="uneven")
    with pytest.raises(PromptError, match=r"^uneven: pair 2: the sides differ in length"):
        discover(task, MODEL, method="eap", device="cpu", progress=None)
