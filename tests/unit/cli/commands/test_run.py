"""`acdc run` on sweeps of compiled models: what it does, says, and leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from tests.command_line import Outcome, acdc
from tests.sweeps import write_shape, write_sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two thresholds that work."""
    methods = [{"name": "acdc", "thresholds": [0.1, 0.01]}]
    return write_sweep(tmp_path / "small.yaml", methods=methods)


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A run that works, and one whose prompts the model's tokenizer does not know."""
    return write_sweep(tmp_path / "failing.yaml", tasks=["compiled_or", "compiled_reverse"])


def run(capsys, *arguments: str | Path) -> Outcome:
    return acdc(capsys, "run", *arguments, "--device", "cpu")


def test_run_commits_every_run_and_says_where(capsys, sweep: Path, store_url: str):
    shown = run(capsys, sweep)
    assert shown.code == 0, shown.err
    assert len(open_store(store_url).run_ids()) == 2
    assert "[2/2] compiled_or in zoo:compiled-or at 0.01: 4 edges" in shown.err
    assert "4 of 23" in shown.out
    assert f"2 of 2 runs are in {store_url}" in shown.out


def test_run_again_does_nothing(capsys, sweep: Path, store_url: str):
    run(capsys, sweep)
    before = {p: p.stat().st_mtime_ns for p in Path(store_url).rglob("*")}
    again = run(capsys, sweep, "--json").document
    assert again["counts"] == {
        "committed": 0,
        "present": 2,
        "failed": 0,
        "skipped": 0,
        "refused": 0,
        "unsupported": 0,
    }
    assert {p: p.stat().st_mtime_ns for p in Path(store_url).rglob("*")} == before


def test_run_that_fails_ends_with_3_and_is_not_tried_again_by_itself(
    capsys, failing: Path, store_url: str
):
    first = run(capsys, failing, "--json")
    assert first.code == 3
    assert [r["state"] for r in first.document["runs"]] == ["committed", "failed"]
    assert first.document["runs"][1]["error"]["kind"] == "PromptError"
    assert "1 of 2 runs failed" in first.err
    assert "--retry-failed" in first.err
    again = run(capsys, failing, "--json")
    assert again.code == 3
    assert [(r["state"], r["attempts"]) for r in again.document["runs"]] == [
        ("present", 0),
        ("skipped", 0),
    ]
    assert "1 run left out, failed before (--retry-failed tries again)" in again.err
    assert len(open_store(store_url).failures()) == 1


def test_run_retries_what_failed_when_asked_to_and_nothing_else(capsys, failing: Path):
    run(capsys, failing)
    again = run(capsys, failing, "--retry-failed", "--json")
    assert again.code == 3
    assert [(r["state"], r["attempts"]) for r in again.document["runs"]] == [
        ("present", 0),
        ("failed", 1),
    ]


def test_run_names_each_cause_once_with_where_it_struck(capsys, tmp_path: Path):
    methods = [{"name": "acdc", "thresholds": [0.1, 0.01, 0.001]}]
    sweep = write_sweep(tmp_path / "s.yaml", tasks=["compiled_reverse"], methods=methods)
    shown = run(capsys, sweep)
    assert shown.code == 3
    assert "3 runs failed: compiled_reverse in zoo:compiled-or" in shown.err
    assert shown.err.count("fix: use words of this model's vocabulary") == 1


def test_run_refused_cells_do_not_stop_the_rest_and_count_as_failed(
    capsys, tmp_path: Path, store_url: str
):
    gone = f"dir:{tmp_path / 'gone'}"
    sweep = write_sweep(tmp_path / "s.yaml", models=[gone, "zoo:compiled-or"])
    shown = run(capsys, sweep)
    assert shown.code == 3
    assert len(open_store(store_url).run_ids()) == 1
    assert f"1 run cannot be planned: compiled_or in {gone}" in shown.err
    assert "1 of 2 runs failed" in shown.err
    assert "--retry-failed" not in shown.err


def test_run_counts_unsupported_models_apart_from_damaged_ones(
    capsys, tmp_path: Path, store_url: str
):
    mamba, torn = tmp_path / "mamba", tmp_path / "torn"
    write_shape(mamba, architectures=["MambaForCausalLM"], model_type="mamba")
    write_shape(torn)
    (torn / "config.json").write_text("{")
    models = [f"dir:{mamba}", "zoo:compiled-or", f"dir:{torn}"]
    shown = run(capsys, write_sweep(tmp_path / "s.yaml", models=models))
    assert shown.code == 3
    assert "1 of 3 runs failed, and 1 cannot be executed: unsupported models" in shown.err
    assert f"1 run cannot be planned: compiled_or in dir:{torn}" in shown.err
    assert f"1 run unsupported: compiled_or in dir:{mamba}" in shown.err
    # model, task, new, cached, failed, unsupported
    rows = [line.split() for line in shown.out.splitlines() if "compiled_or" in line]
    assert sorted(row[2:6] for row in rows) == sorted(
        [["–", "–", "–", "1"], ["1", "–", "–", "–"], ["–", "–", "1", "–"]]
    )
    only = write_sweep(tmp_path / "only.yaml", models=models[:2])
    again = run(capsys, only, "--json")
    assert again.code == 3
    assert (
        "1 of 2 runs cannot be executed: unsupported models; all others are in the store"
        in again.err
    )
    assert "'exclude'" in again.err
    assert {k: again.document["counts"][k] for k in ("present", "refused", "unsupported")} == {
        "present": 1,
        "refused": 1,
        "unsupported": 1,
    }


def test_run_without_unsupported_models_has_no_column_for_them(capsys, sweep: Path):
    assert "unsupported" not in run(capsys, sweep).out.splitlines()[0]


def test_run_of_shards_fills_the_store_without_one_run_twice(capsys, sweep: Path, store_url: str):
    documents = [run(capsys, sweep, "--shard", f"{i}/3", "--json").document for i in (1, 2, 3)]
    assert sorted(document["counts"]["committed"] for document in documents) == [0, 1, 1]
    assert run(capsys, sweep, "--json").document["counts"]["present"] == 2


def test_run_of_an_empty_shard_says_so(capsys, sweep: Path, store_url: str):
    shown = run(capsys, sweep, "--shard", "1/3")
    assert (shown.code, shown.out) == (0, "nothing to do: shard 1/3 of sweep 'small' has no run\n")
    assert not Path(store_url).exists()


def test_run_in_a_store_that_cannot_be_written_executes_nothing(
    capsys, sweep: Path, tmp_path: Path
):
    (tmp_path / "file").write_text("x")
    run(capsys, sweep, "--store", tmp_path / "file").refuses("is a file, not a folder")


def test_run_on_a_device_that_is_not_there_executes_nothing(capsys, sweep: Path, store_url: str):
    shown = acdc(capsys, "run", sweep, "--device", "cuda:77")
    assert (shown.code, shown.out) == (2, "")
    assert "device 'cuda:77' is not on this machine" in shown.err
    assert open_store(store_url).failures() == []


def test_run_that_leaves_a_gpu_idle_says_so_unless_it_was_told_to(capsys, monkeypatch, sweep: Path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    idle = "the GPU of this machine stays idle: profile 'laptop' has no gpus"
    assert idle in acdc(capsys, "run", sweep, "--shard", "2/3").err
    assert idle not in acdc(capsys, "run", sweep, "--device", "cpu").err


def test_run_interrupted_says_how_to_go_on(capsys, monkeypatch, sweep: Path, store_url: str):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run(capsys, sweep, "--shard", "2/3")
    monkeypatch.setattr("acdc_pipeline.execution.worker.Worker.execute", interrupt)
    shown = run(capsys, sweep, "--threads", "1")
    assert (shown.code, shown.out) == (130, "")
    again = f"continue with: acdc run {sweep} --device cpu --threads 1"
    assert f"0 of 1 done and in the store; {again}" in shown.err
    assert len(open_store(store_url).run_ids()) == 1
