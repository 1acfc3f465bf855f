"""The sweeps that ship ask no model for what it has not learnt."""

from __future__ import annotations

import json

import pytest

from acdc_pipeline.models.zoo import list_zoo, zoo_path
from acdc_pipeline.specs import METHODS, SweepSpec, find_sweep, find_task


def pairs_of(sweep: SweepSpec) -> set[tuple[str, str]]:
    """Task and zoo model of every cell."""
    tasks = {name: find_task(name) for name in sweep.tasks}
    cells = sweep.cells(tasks, sweep.model_refs(list_zoo()), "float32")
    return {(cell.task.name, cell.model.name) for cell in cells if cell.model.kind == "zoo"}


def learnt(model: str) -> set[str]:
    return set(json.loads((zoo_path(model) / "card.json").read_text(encoding="utf-8"))["tasks"])


@pytest.mark.parametrize("name", ["demo", "methods", "regress", "zoo"])
def test_sweep_pairs_tasks_with_models_whose_card_claims_them(name: str):
    pairs = pairs_of(find_sweep(name))
    assert {(task, model) for task, model in pairs if task not in learnt(model)} == set()


def test_zoo_sweep_leaves_out_no_trained_model_that_learnt_its_tasks():
    sweep = find_sweep("zoo")
    trained = [model for model in list_zoo() if not model.startswith("compiled-")]
    wanted = {(task, model) for model in trained for task in learnt(model) & set(sweep.tasks)}
    assert wanted - pairs_of(sweep) == set()


def test_methods_sweep_has_every_method():
    assert {method.model_dump()["name"] for method in find_sweep("methods").methods} == set(METHODS)


def test_paper_sweep_has_the_thresholds_of_the_paper():
    # 21 from 1e-4 to 1, evenly spaced in the logarithm, to five decimals
    expected = tuple(round(10 ** (-4 + k / 5), 5) for k in range(21))
    for method in find_sweep("paper").methods:
        values = method.model_dump()
        assert values["name"] == "acdc"
        assert values["thresholds"] == expected
