"""Failed runs and doubtful ones, as `acdc runs` shows them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from acdc_pipeline.errors import PromptError
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.store.failure import failure_of
from tests import records
from tests.command_line import acdc
from tests.sweeps import planned


@pytest.fixture
def store(store_url: str) -> Store:
    """One run, and two that failed: one with a cause of ours, one with a bug."""
    store = open_store(store_url)
    store.commit(records.record(0))
    error = PromptError("an answer is two tokens", where="a.jsonl:1", fix="shorten it")
    store.record_failure(failure_of(planned(1).run, error, worker="local"))
    store.record_failure(failure_of(planned(2).run, KeyError("x"), worker="w1", attempts=4))
    return store


def test_runs_list_failed_says_why(capsys, store: Store):
    listed = acdc(capsys, "runs", "list", "--failed")
    assert listed.code == 0
    assert "a.jsonl:1: an answer is two tokens" in listed.out
    assert "KeyError: 'x'" in listed.out
    assert planned(0).run_id[:8] not in listed.out
    assert "--retry-failed" in listed.err


def test_runs_list_failed_as_json_has_every_part_of_the_cause(capsys, store: Store):
    document = acdc(capsys, "runs", "list", "--failed", "--json").document
    by_id = {run["run_id"]: run for run in document["failed"]}
    assert set(by_id) == {planned(1).run_id, planned(2).run_id}
    ours, bug = by_id[planned(1).run_id], by_id[planned(2).run_id]
    assert ours["error"] == {
        "kind": "PromptError",
        "problem": "an answer is two tokens",
        "where": "a.jsonl:1",
        "field": None,
        "allowed": None,
        "fix": "shorten it",
    }
    assert (ours["task"], ours["seed"], ours["traceback"]) == ("ioi", 1, [])
    assert (bug["error"]["kind"], bug["attempts"], bug["worker"]) == ("KeyError", 4, "w1")
    assert bug["traceback"] == ["KeyError: 'x'"]


def test_runs_list_failed_filters_like_the_list(capsys, store: Store):
    assert acdc(capsys, "runs", "list", "--failed", "--task", "x").out == ""
    assert "none of 2 failed runs" in acdc(capsys, "runs", "list", "--failed", "--task", "x").err
    model = ("--model", "zoo:attn-2l", "--json")
    assert len(acdc(capsys, "runs", "list", "--failed", *model).document["failed"]) == 2


def test_runs_list_without_failures_says_so(capsys, store_url: str):
    assert "no failed run in" in acdc(capsys, "runs", "list", "--failed").err


def test_runs_list_mentions_that_runs_failed(capsys, store: Store):
    listed = acdc(capsys, "runs", "list")
    assert planned(0).run_id[:8] in listed.out
    assert "2 runs failed: --failed shows why" in listed.err


def test_runs_list_failed_names_a_cause_that_cannot_be_read(capsys, store: Store, store_url: str):
    (Path(store_url) / "failed" / planned(1).run_id / "FAILED.json").write_text("{")
    listed = acdc(capsys, "runs", "list", "--failed")
    assert listed.code == 0
    assert "KeyError: 'x'" in listed.out
    assert f"acdc: warning: run {planned(1).run_id}: FAILED.json: cannot be read" in listed.err


def test_runs_show_of_a_failed_run_says_that_it_failed(capsys, store: Store):
    acdc(capsys, "runs", "show", planned(1).run_id[:8]).refuses(
        f"run '{planned(1).run_id}' failed", "acdc runs list --failed"
    )


def test_runs_show_prints_what_makes_a_run_mean_little(capsys, store_url: str):
    record = records.record()
    details = record.details | {"warnings": ["sides are equal in 3 pairs", "the circuit is empty"]}
    open_store(store_url).commit(replace(record, details=details))
    shown = acdc(capsys, "runs", "show", planned(0).run_id)
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["warning", "sides", "are", "equal", "in", "3", "pairs"] in lines
    assert ["the", "circuit", "is", "empty"] in lines
