"""Runs as a worker executes them: what it reports is the circuit that the search ended with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from acdc_pipeline.errors import PromptError
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import AcdcMethod, find_task
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


METHOD = AcdcMethod(
    name="acdc",
    threshold=0.05,
    metric="kl",
    ablation="corrupted",
    order="reverse-heads",
    difference="signed",
)


def test_execute_on_token_ids_needs_no_tokenizer(tmp_path: Path, task_file: Path):
    directory = checkpoints.HUGGING_FACE["gpt2"](tmp_path / "gpt2")
    task = find_task(task_file)
    run = plan_run(task, f"dir:{directory}", method=METHOD, prompts=64, seed=0, dtype="float64")
    without = Worker(device="cpu").execute(run, task)
    assert without.spec.prompts == 3
    word_tokenizer(f"word{i}" for i in range(checkpoints.VOCAB - 10)).save_pretrained(directory)
    run = plan_run(task, f"dir:{directory}", method=METHOD, prompts=3, seed=0, dtype="float64")
    assert Worker(device="cpu").execute(run, task).decisions == without.decisions


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"clean": "a text"}, "1: clean: 'a text' is a text, and dir:"),
        ({"correct": "word"}, "1: correct: 'word' is a text, and dir:"),
        ({"clean": [0, 1, 2]}, "1: the sides differ in length: clean 3 tokens, corrupted 2"),
        ({"corrupted": [0, 9999]}, "1: corrupted: 9999 is not a token id"),
    ],
)
def test_execute_without_a_tokenizer_names_the_pair_that_needs_one(
    tmp_path: Path, changed: dict[str, object], says: str
):
    directory = checkpoints.HUGGING_FACE["gpt2"](tmp_path / "gpt2")
    pair = {"clean": [0, 1], "corrupted": [2, 1], "correct": 3} | changed
    (tmp_path / "ids.jsonl").write_text(json.dumps(pair))
    task = find_task(tmp_path / "ids.jsonl")
    run = plan_run(task, f"dir:{directory}", method=METHOD, prompts=1, seed=0, dtype="float32")
    with pytest.raises(PromptError) as raised:
        Worker(device="cpu").execute(run, task)
    assert str(raised.value).startswith(f"ids.jsonl:{says}")


def test_execute_of_a_task_of_texts_without_a_tokenizer_says_what_would_do(tmp_path: Path):
    directory = checkpoints.HUGGING_FACE["gpt2"](tmp_path / "gpt2")
    task = find_task("ioi")
    run = plan_run(task, f"dir:{directory}", method=METHOD, prompts=1, seed=0, dtype="float32")
    with pytest.raises(PromptError, match="'ioi' needs a tokenizer") as raised:
        Worker(device="cpu").execute(run, task)
    assert (raised.value.allowed or "").startswith("pairs of token ids, such as a .jsonl file")


# At these thresholds nodes die with edges into them untested; in the last two they still count.
@pytest.mark.parametrize(("name", "threshold"), [("gpt2", 0.2), ("gemma2", 0.05), ("olmo2", 0.15)])
def test_execute_reported_metric_is_the_one_the_search_ended_with(
    name: str, threshold: float, tmp_path: Path, task_file: Path
):
    directory = checkpoints.HUGGING_FACE[name](tmp_path / name)
    word_tokenizer(f"word{i}" for i in range(checkpoints.VOCAB - 10)).save_pretrained(directory)
    task = find_task(task_file)
    method = METHOD.model_copy(update={"threshold": threshold})
    run = plan_run(task, f"dir:{directory}", method=method, prompts=3, seed=0, dtype="float64")
    record = Worker(device="cpu").execute(run, task)
    assert record.details["recheck_error"] < 1e-12
    assert record.circuit is not None
    assert record.details["edges_tested"] < record.circuit.topology.n_edges
    assert record.metrics["kl"] > 0


def test_execute_one_worker_after_another_run_or_a_fresh_one_makes_no_difference(
    tmp_path: Path, task_file: Path
):
    directory = checkpoints.gpt2(tmp_path / "m")
    task = find_task(task_file)
    changes = [
        {"threshold": 0.05},
        {"threshold": 0.2},
        {"threshold": 0.2, "ablation": "zero"},
        {"threshold": 0.05, "metric": "logit_diff"},
    ]
    worker = Worker(device="cpu")
    for change in changes:
        method = METHOD.model_copy(update=change)
        run = plan_run(task, f"dir:{directory}", method=method, prompts=3, seed=0, dtype="float32")
        shared, fresh = worker.execute(run, task), Worker(device="cpu").execute(run, task)
        assert shared.decisions == fresh.decisions
        assert shared.metrics == fresh.metrics
        assert shared.details == fresh.details
        assert shared.parity_error == fresh.parity_error
