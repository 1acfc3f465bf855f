"""Runs as a worker executes them: what it reports is the circuit that the search ended with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import find_task
from acdc_pipeline.specs.method import AcdcMethod
from tests import checkpoints
from tests.tokenizers import word_tokenizer


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """Three pairs of token ids."""
    tokens = torch.randint(checkpoints.VOCAB, (3, 2, 6), generator=torch.Generator().manual_seed(1))
    lines = [
        json.dumps({"clean": clean, "corrupted": corrupted, "correct": 3, "incorrect": [4]})
        for clean, corrupted in tokens.tolist()
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(lines))
    return path


# At these thresholds nodes die with edges into them untested; in the last two they still count.
@pytest.mark.parametrize(("name", "threshold"), [("gpt2", 0.2), ("gemma2", 0.05), ("olmo2", 0.15)])
def test_execute_reported_metric_is_the_one_the_search_ended_with(
    name: str, threshold: float, tmp_path: Path, task_file: Path
):
    directory = checkpoints.HUGGING_FACE[name](tmp_path / name)
    word_tokenizer(f"word{i}" for i in range(checkpoints.VOCAB - 10)).save_pretrained(directory)
    task = find_task(task_file)
    method = AcdcMethod(
        name="acdc",
        threshold=threshold,
        metric="kl",
        ablation="corrupted",
        order="reverse-heads",
        difference="signed",
    )
    run = plan_run(task, f"dir:{directory}", method=method, prompts=3, seed=0, dtype="float64")
    record = Worker(device="cpu").execute(run, task)
    assert record.details["recheck_error"] < 1e-12
    assert record.circuit is not None
    assert record.details["edges_tested"] < record.circuit.topology.n_edges
    assert record.metrics["kl"] > 0
