"""A sweep of 48 runs of which 12 fail: the others are there, and the 12 say why."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.store import open_store
from tests import checkpoints
from tests.command_line import acdc
from tests.sweeps import PAIRS, write_pairs, write_sweep
from tests.tokenizers import word_tokenizer

pytestmark = pytest.mark.slow

WORDS = ("red", "green", "blue", "cold", "warm", "dark")
TEXTS = (
    {"clean": "red green blue", "corrupted": "cold green blue", "correct": "warm"},
    {"clean": "blue red cold", "corrupted": "green red cold", "correct": "dark"},
)
THRESHOLDS = (1.0, 0.1, 0.01, 0.001)


def swept(capsys, *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    shown = acdc(capsys, "run", *arguments, "--device", "cpu", "--json")
    return shown.code, shown.document, shown.err


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two tasks of token ids and one of words, in four models; only one knows the words."""
    models = [checkpoints.native(tmp_path / f"m{seed}", seed) for seed in range(4)]
    word_tokenizer(WORDS).save_pretrained(models[0])
    word_tokenizer(WORDS[:-1]).save_pretrained(models[1])  # lacks an answer
    word_tokenizer(["other", "words"]).save_pretrained(models[2])
    turned = [pair | {"correct": pair["corrupted"][0]} for pair in PAIRS]
    tasks = [
        write_pairs(tmp_path / "ids.jsonl"),
        write_pairs(tmp_path / "texts.jsonl", TEXTS),
        write_pairs(tmp_path / "turned.jsonl", turned),
    ]
    return write_sweep(
        tmp_path / "sweep.yaml",
        tasks=[str(task) for task in tasks],
        models=[f"dir:{model}" for model in models],
        methods=[{"name": "acdc", "thresholds": list(THRESHOLDS)}],
    )


def test_sweep_with_12_failing_runs_of_48_commits_36_keeps_12_causes_and_retries_just_those(
    capsys, sweep: Path, store_url: str
):
    code, document, err = swept(capsys, sweep)
    assert code == 3
    assert "12 of 48 runs failed" in err
    failed = {run["run_id"] for run in document["runs"] if run["state"] == "failed"}
    committed = {run["run_id"] for run in document["runs"] if run["state"] == "committed"}
    assert (len(committed), len(failed)) == (36, 12)
    assert {(run["task"], run["model"][-2:]) for run in document["runs"] if run["error"]} == {
        ("texts", "m1"),
        ("texts", "m2"),
        ("texts", "m3"),
    }
    store = open_store(store_url)
    assert set(store.run_ids()) == committed
    assert store.damaged() == []
    files = sorted(Path(store_url).glob("failed/*/FAILED.json"))
    assert {file.parent.name for file in files} == failed
    for file in files:
        cause = json.loads(file.read_text())["cause"]
        assert cause["kind"] == "PromptError"
        assert cause["where"]
        assert cause["problem"]

    code, document, _ = swept(capsys, sweep)
    assert code == 3
    assert document["counts"] == {
        "committed": 0,
        "present": 36,
        "failed": 0,
        "skipped": 12,
        "refused": 0,
        "unsupported": 0,
    }
    code, document, _ = swept(capsys, sweep, "--retry-failed")
    assert code == 3
    assert {run["run_id"] for run in document["runs"] if run["attempts"]} == failed


def test_sweep_whose_failures_are_mended_is_complete_after_retry_failed(
    capsys, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    small = checkpoints.native(tmp_path / "small", 0)
    large = checkpoints.native(tmp_path / "large", 1, layers=6)
    pairs = write_pairs(tmp_path / "ids.jsonl")
    sweep = write_sweep(
        tmp_path / "sweep.yaml", tasks=[str(pairs)], models=[f"dir:{large}", f"dir:{small}"]
    )
    # the outputs of 7 sources fit into this budget, those of 19 do not, nor on the disk
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full, raising=False)
        code, document, _ = swept(capsys, sweep, "--memory", "10KB")
    assert code == 3
    assert [run["state"] for run in document["runs"]] == ["failed", "committed"]
    assert document["runs"][0]["error"]["kind"] == "ExecutionFailed"
    code, document, _ = swept(capsys, sweep, "--memory", "10MB", "--retry-failed")
    assert code == 0
    assert [run["state"] for run in document["runs"]] == ["committed", "present"]
    assert list((Path(store_url) / "failed").iterdir()) == []
