"""Profile runs: as workers execute them, for any architecture, with and without a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acdc_pipeline.errors import OutOfMemoryBudget, PromptError
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.profile_run import Profiler
from acdc_pipeline.execution.progress import Silent
from acdc_pipeline.execution.shards.head_jobs import HeadJobs
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.heads.batches import row_bytes
from acdc_pipeline.models.zoo import claimed_tasks
from acdc_pipeline.specs import (
    ProfileMethod,
    RunSpec,
    SweepSpec,
    TaskSpec,
    find_task,
)
from acdc_pipeline.specs.head_scores import SCORES, parse_metric
from acdc_pipeline.specs.methods.profile import MAX_TEXT_LENGTH
from acdc_pipeline.store import RunRecord, open_store
from tests import checkpoints
from tests.tokenizers import word_tokenizer

METHOD = ProfileMethod(name="profile", period=4, sequences=2, tokens=8, text=None)


@pytest.fixture
def task(tmp_path: Path) -> TaskSpec:
    """Three pairs of token ids, of different lengths."""
    tokens = torch.randint(checkpoints.VOCAB, (3, 2, 7), generator=torch.Generator().manual_seed(1))
    lines = [
        json.dumps(
            {"clean": clean[:n], "corrupted": other[:n], "correct": clean[1], "incorrect": [4, n]}
        )
        for n, (clean, other) in zip((5, 7, 6), tokens.tolist(), strict=True)
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    return find_task(tmp_path / "mine.jsonl")


def run_of(task: TaskSpec, model: Path | str, seed: int = 0, method=METHOD) -> RunSpec:
    ref = model if isinstance(model, str) else f"dir:{model}"
    return plan_run(task, ref, method=method, prompts=64, seed=seed, dtype="float32")


# grouped keys, norms behind attention, norms across heads, parallel blocks, no MLP and no norm
@pytest.mark.parametrize("name", ["llama", "gemma2", "olmo2", "neox", "native-no-norm"])
def test_profile_of_any_architecture_without_a_tokenizer_is_whole(
    name: str, tmp_path: Path, task: TaskSpec
):
    directory = checkpoints.EVERY[name](tmp_path / name)
    run = run_of(task, directory)
    record = Worker(device="cpu").execute(run, task)
    assert record.circuit is None
    assert record.parity_error is not None
    assert record.parity_error < 1e-5
    measured = {parse_metric(row.metric)[0] for row in record.heads}
    # no words, no relation; and who is a mover, or has a main head, chance decides
    absent = {"successor", "relation", "query_effect"} | {n for n in SCORES if "backup" in n}
    # nor need an answer stand in its prompt
    absent |= {name for name in SCORES if name.startswith("attention_to_")} | {"answer_reading"}
    always = set(SCORES) - absent
    assert always <= measured
    assert record.profile is not None
    assert record.profile["task"] == "mine"
    store = open_store(tmp_path / "store")
    store.commit(record)
    assert store.get(run.run_id()) == record


def test_profile_of_another_task_shares_what_no_task_decides(tmp_path: Path, task: TaskSpec):
    directory = checkpoints.gpt2(tmp_path / "gpt2")
    other = task.model_copy(update={"name": "other", "generator": _reversed(task)})
    worker = Worker(device="cpu")
    first, second = (worker.execute(run_of(t, directory), t) for t in (task, other))
    assert _shared(first) == _shared(second)
    assert _own(first) != _own(second)
    alone = Worker(device="cpu").execute(run_of(other, directory), other)
    assert alone.heads == second.heads
    assert alone.profile == second.profile


def _reversed(task: TaskSpec):
    generator = task.generator
    assert generator.kind == "pairs"
    pairs = tuple(
        pair.model_copy(update={"clean": pair.corrupted, "corrupted": pair.clean})
        for pair in generator.pairs
    )
    return generator.model_copy(update={"pairs": pairs})


def _shared(record: RunRecord) -> list[object]:
    return [row for row in record.heads if ":" not in row.metric]


def _own(record: RunRecord) -> list[tuple[str, float]]:
    return [(row.metric.partition(":")[0], row.value) for row in record.heads if ":" in row.metric]


def test_profile_with_little_memory_is_the_same_but_for_rounding(tmp_path: Path, task: TaskSpec):
    directory = checkpoints.HUGGING_FACE["qwen2"](tmp_path / "qwen2")
    run = run_of(task, directory)
    whole = Worker(device="cpu").execute(run, task)
    little = Worker(device="cpu", memory=60_000).execute(run, task)
    assert [row.metric for row in little.heads] == [row.metric for row in whole.heads]
    np.testing.assert_allclose(
        [row.value for row in little.heads],
        [row.value for row in whole.heads],
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("prompts", "period"), [(3, 2), (1, 3)], ids=["longest prompt", "random tokens"]
)
def test_memory_for_no_row_is_refused_before_anything_is_measured_here_or_elsewhere(
    tmp_path: Path, task: TaskSpec, prompts: int, period: int
):
    method = METHOD.model_copy(update={"period": period})
    directory = checkpoints.EVERY["native-no-norm"](tmp_path / "native")
    run = run_of(task, directory, method=method).model_copy(update={"prompts": prompts})
    worker = Worker(device="cpu")
    model, drawn = worker.model(run), worker.prompts(run, task, seed=0, alike=1)
    needed = row_bytes(model.weights, 7)  # prompts of 5 to 7 tokens, and 1 + 2 * period random ones
    for elsewhere in (None, object.__new__(HeadJobs)):  # which fails when asked for anything
        with pytest.raises(OutOfMemoryBudget, match=f"of 7 tokens needs {needed} bytes"):
            Profiler().profile(model, run, method, task, drawn, needed - 1, Silent(), elsewhere)


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, Heard]:
    """A run with a tokenizer, a text to read, and a first pair whose sides are equal."""
    folder = tmp_path_factory.mktemp("eventful")
    directory = checkpoints.gpt2(folder / "gpt2")
    word_tokenizer(f"word{i}" for i in range(checkpoints.VOCAB - 10)).save_pretrained(directory)
    pairs = [{"clean": [3, 4, 5], "corrupted": [3, n, 5], "correct": 6} for n in (4, 7, 8)]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    task = find_task(folder / "mine.jsonl")
    method = METHOD.model_copy(update={"text": "word1 word2 word3 word1 word2 word4"})
    heard = Heard()
    run = run_of(task, directory, method=method)
    return Worker(device="cpu").execute(run, task, heard), heard


def test_profile_counts_heads_up_to_all_of_them(eventful: tuple[RunRecord, Heard]):
    record, heard = eventful
    assert heard.started == [(4, f"mine on {record.spec.model}")]
    assert heard.done == sorted(heard.done)
    assert set(heard.totals) == {4}
    assert heard.finished == 1


def test_profile_says_where_corrupted_ablation_does_nothing(eventful: tuple[RunRecord, Heard]):
    warnings = eventful[0].details["warnings"]
    assert "equal in 1 of 3 pairs (the first: pair 1)" in warnings[0]


def test_profile_reads_a_text_where_there_is_a_tokenizer(eventful: tuple[RunRecord, Heard]):
    profile = eventful[0].profile
    assert profile is not None
    assert {one["from"] for one in profile["snippets"]["texts"]} == {"mine", "text"}


def test_profile_with_a_text_and_no_tokenizer_is_refused(tmp_path: Path, task: TaskSpec):
    directory = checkpoints.gpt2(tmp_path / "gpt2")
    run = run_of(task, directory, method=METHOD.model_copy(update={"text": "a b"}))
    with pytest.raises(PromptError, match="cannot be read without a tokenizer"):
        Worker(device="cpu").execute(run, task)


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.started: list[tuple[int, str]] = []
        self.done: list[int] = []
        self.totals: list[int] = []
        self.finished = 0

    def start(self, total_edges: int, label: str) -> None:
        self.started.append((total_edges, label))

    def advance(self, tested: int, kept: int, left: int) -> None:
        self.done.append(tested)
        self.totals.append(tested + left)

    def finish(self) -> None:
        self.finished += 1


def test_profile_of_bidirectional_attention_needs_prompts_of_one_length(
    tmp_path: Path, task: TaskSpec
):
    directory = checkpoints.EVERY["native-rms-pre-bidirectional"](tmp_path / "both")
    with pytest.raises(PromptError, match="bidirectional"):
        Worker(device="cpu").execute(run_of(task, directory), task)


@pytest.mark.parametrize(
    ("pair", "problem"),
    [
        ({"corrupted": [4, 3, 5], "correct": 1, "align": "right"}, "sides of different length"),
        ({"corrupted": [4, 5], "correct": [[1, 2]], "answers": "whole"}, "several tokens"),
    ],
)
def test_profile_on_sides_or_answers_of_several_lengths_is_refused(
    pair: dict[str, Any], problem: str, tmp_path: Path
):
    (tmp_path / "mine.jsonl").write_text(json.dumps({"clean": [3, 5], **pair}))
    task = find_task(tmp_path / "mine.jsonl")
    directory = checkpoints.gpt2(tmp_path / "gpt2")
    with pytest.raises(PromptError, match=f"heads are not profiled on .*{problem}"):
        Worker(device="cpu").execute(run_of(task, directory), task)


def test_profile_is_a_run_of_its_own_for_every_amount_and_text(tmp_path: Path, task: TaskSpec):
    directory = checkpoints.gpt2(tmp_path / "gpt2")
    changes = ({}, {"period": 5}, {"sequences": 5}, {"tokens": 5}, {"text": "a"}, {"text": "b"})
    ids = {
        run_of(task, directory, method=METHOD.model_copy(update=change)).run_id()
        for change in changes
    }
    assert len(ids) == len(changes)
    assert run_of(task, directory, seed=1).run_id() not in ids


def test_sweep_takes_profiles_with_the_usual_amounts():
    sweep = SweepSpec.model_validate(
        {
            "name": "heads",
            "tasks": ["ioi"],
            "models": ["zoo:attn-2l"],
            "methods": [{"name": "profile"}, {"name": "profile", "period": 8}],
            "prompts": 8,
            "seeds": [0],
        }
    )
    tasks = {"ioi": find_task("ioi")}
    cells = sweep.cells(tasks, sweep.model_refs(["attn-2l"]), "float32")
    assert [cell.method for cell in cells] == [
        ProfileMethod(name="profile", period=50, sequences=32, tokens=512, text=None),
        ProfileMethod(name="profile", period=8, sequences=32, tokens=512, text=None),
    ]


def test_request_keeps_the_beginning_of_a_long_text():
    method = ProfileMethod.with_defaults("ab" * MAX_TEXT_LENGTH)
    assert method.text == "ab" * (MAX_TEXT_LENGTH // 2)


def test_zoo_models_claim_the_tasks_of_their_cards():
    assert claimed_tasks("compiled-induction") == ("induction",)
    assert "ioi" in claimed_tasks("gpt2-4l-s0")
