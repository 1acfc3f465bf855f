"""A sweep becomes runs: each once, pinned, and what cannot be run does not stop the rest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.errors import (
    InvalidInput,
    OutOfMemoryBudget,
    SpecError,
    UnknownName,
    UnsupportedModel,
)
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.shard import Shard
from acdc_pipeline.specs import find_task
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.store.failure import failure_of
from acdc_pipeline.workflows.sweep import SweepPlan, plan_sweep, sweep_status
from tests import records
from tests.sweeps import planned, sweep, write_pairs, write_shape

PLAN = SweepPlan("s", tuple(planned(seed) for seed in (3, 1, 2, 0)), (), {})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def fail(store: Store, seed: int) -> None:
    store.record_failure(failure_of(planned(seed).run, ValueError("no"), worker="local"))


def test_sweep_runs_are_what_discover_would_plan():
    spec = sweep(methods=[{"name": "acdc", "thresholds": [0.1, 0.01]}], prompts=5, seeds=[0, 3])
    plan = plan_sweep(spec, dtype="float64")
    task = find_task("compiled_or")
    expected = [
        plan_run(task, "zoo:compiled-or", method=method, prompts=5, seed=seed, dtype="float64")
        for seed in (0, 3)
        for method in spec.methods[0].methods(task)
    ]
    assert [planned.run for planned in plan.runs] == expected
    assert plan.refused == ()
    assert plan.models["zoo:compiled-or"].n_edges == 23


def test_sweep_of_experts_refuses_models_without_any():
    plan = plan_sweep(sweep(experts="nodes"), dtype="float32")
    assert plan.runs == ()
    (refused,) = plan.refused
    assert "no mixture of experts" in str(refused.error)


def test_sweep_dtype_of_its_own_wins_over_the_profiles():
    (planned,) = plan_sweep(sweep(dtype="float64"), dtype="float32").runs
    assert planned.run.dtype == "float64"


def test_sweep_prompts_are_no_more_than_a_file_of_pairs_has(tmp_path: Path):
    pairs = write_pairs(tmp_path / "two.jsonl")
    (planned,) = plan_sweep(sweep(tasks=[str(pairs)], prompts=64), dtype="float32").runs
    assert planned.run.prompts == 2


def test_sweep_cell_whose_model_cannot_be_had_is_refused_and_the_rest_is_planned(tmp_path: Path):
    good = write_shape(tmp_path / "good")
    mamba = write_shape(tmp_path / "mamba", architectures=["MambaForCausalLM"], model_type="mamba")
    pickled = write_shape(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    models = [f"dir:{tmp_path}/gone", f"dir:{good}", f"dir:{mamba}", f"dir:{pickled}", "hf:no/such"]
    spec = sweep(models=models, methods=[{"name": "acdc", "thresholds": [0.1, 0.2]}])
    plan = plan_sweep(spec, dtype="float32")
    assert [planned.run.model for planned in plan.runs] == [f"dir:{good}"] * 2
    assert [str(r.cell.model) for r in plan.refused[::2]] == [
        model for model in models if model != f"dir:{good}"
    ]
    errors = {str(r.cell.model): r.error for r in plan.refused}
    assert "no such model directory" in str(errors[models[0]])
    assert isinstance(errors[models[2]], UnsupportedModel)
    assert "MambaForCausalLM" in str(errors[models[2]])
    assert "would run code" in str(errors[models[3]])
    assert "local Hugging Face cache" in str(errors["hf:no/such"])


def test_sweep_model_whose_weights_may_not_be_read_is_refused(tmp_path: Path):
    folder = write_shape(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    (refusal,) = plan_sweep(sweep(models=[f"dir:{folder}"]), dtype="float32").refused
    assert isinstance(refusal.error, InvalidInput)
    assert refusal.error.where == str(folder / "model.safetensors")


def test_sweep_reads_the_weights_of_a_model_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_shape(tmp_path / "m")
    opened: list[str] = []
    original = Path.open

    def counting(self: Path, *args: Any, **kwargs: Any) -> Any:
        opened.append(self.name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", counting)
    spec = sweep(models=[f"dir:{folder}"], seeds=[0, 1, 2])
    assert len(plan_sweep(spec, dtype="float32").runs) == 3
    assert opened.count("model.safetensors") == 1


def test_sweep_of_the_same_weights_by_two_names_is_one_run(tmp_path: Path):
    one = write_shape(tmp_path / "one")
    two = shutil.copytree(one, tmp_path / "two")
    plan = plan_sweep(sweep(models=[f"dir:{one}", f"dir:{two}"]), dtype="float32")
    assert [planned.run.model for planned in plan.runs] == [f"dir:{one}"]


@pytest.mark.parametrize(
    "twice",
    [
        {"tasks": ["compiled_or", "compiled_or"]},
        {"seeds": [0, 0]},
        {"methods": [{"name": "acdc", "thresholds": [0.1]}] * 2},
    ],
)
def test_sweep_that_says_something_twice_has_each_run_in_one_shard(twice: dict[str, Any]):
    parts = [plan_sweep(sweep(**twice), dtype="float32", shard=Shard(i, 2)) for i in (1, 2)]
    assert sorted(len(part.runs) for part in parts) == [0, 1]


def test_sweep_shard_reads_no_model_of_another_shard(tmp_path: Path):
    models = [f"dir:{write_shape(tmp_path / name)}" for name in ("a", "b")]
    plan = plan_sweep(sweep(models=models), dtype="float32", shard=Shard(2, 2))
    assert [planned.run.model for planned in plan.runs] == models[1:]
    assert list(plan.models) == models[1:]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"tasks": ["compiled_ro"]}, UnknownName, "unknown task 'compiled_ro'"),
        ({"models": ["zoo:compiled-ro"]}, UnknownName, "unknown model 'zoo:compiled-ro'"),
        (
            {"exclude": [{"tasks": ["compiled_or"], "models": ["zoo:*"]}]},
            SpecError,
            "leaves out every task in every model",
        ),
    ],
)
def test_sweep_that_names_what_is_not_there_plans_nothing(
    changes: dict[str, Any], kind: type[Exception], message: str
):
    with pytest.raises(kind, match=message):
        plan_sweep(sweep(**changes), dtype="float32")


def test_work_on_an_empty_store_is_the_plan_in_its_order(store: Store):
    work = sweep_status(PLAN, store)
    assert work.runs("to run") == PLAN.runs
    assert work.runs("cached", "failed before") == ()
    assert not store.folder or list(store.folder.iterdir()) == []


def test_work_tells_what_is_there_from_what_failed_and_what_is_left(store: Store):
    store.commit(records.record(1))
    fail(store, 2)
    work = sweep_status(PLAN, store)
    assert [work.state(run) for run in PLAN.runs] == [
        "to run",
        "cached",
        "failed before",
        "to run",
    ]
    assert work.runs("to run", "failed before") == (planned(3), planned(2), planned(0))
    assert [failure.problem for failure in work.failures.values()] == ["no"]


def test_work_on_a_run_that_failed_and_was_committed_later_is_cached(store: Store):
    store.commit(records.record(1))
    fail(store, 1)
    work = sweep_status(PLAN, store)
    assert work.state(planned(1)) == "cached"
    assert work.failures == {}


def test_work_on_a_run_that_had_too_small_a_budget_is_to_be_done_again(store: Store):
    error = OutOfMemoryBudget("16 prompts need 6.3 MB, the budget is 0.0 MB")
    store.record_failure(failure_of(planned(1).run, error, worker="local"))
    work = sweep_status(PLAN, store)
    assert work.state(planned(1)) == "to run"
    assert work.failures == {}


def test_work_on_a_damaged_run_is_to_be_done_again(store: Store, tmp_path: Path):
    store.commit(records.record(1))
    edges = tmp_path / "runs" / planned(1).run_id / "edges.parquet"
    edges.write_bytes(b"x" * edges.stat().st_size)
    assert sweep_status(PLAN, store).state(planned(1)) == "to run"


def test_work_on_a_run_whose_cause_cannot_be_read_is_to_be_done_and_says_so(
    store: Store, tmp_path: Path
):
    fail(store, 1)
    (tmp_path / "failed" / planned(1).run_id / "FAILED.json").write_text("{")
    work = sweep_status(PLAN, store)
    assert work.state(planned(1)) == "to run"
    assert [damage.where for damage in work.damaged] == [f"run {planned(1).run_id}"]
