"""A `discover` that is killed leaves no half run, and running it again completes."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.store import open_store
from tests import checkpoints
from tests.command_line import acdc, start_acdc
from tests.forked_commands import fork_acdc
from tests.tokenizers import word_tokenizer

TARGET = ("discover", "compiled_or", "zoo:compiled-or", "--json")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("start", "line"), [(start_acdc, None), (fork_acdc, "searching")])
def test_killed_discover_leaves_a_whole_run_or_none_and_runs_again(
    capsys, store_url, start: Callable[..., Any], line: str | None
):
    with start(*TARGET) as process:
        if line is not None:
            assert any(line in text for text in process.stderr)
        process.send_signal(signal.SIGKILL)
    store = open_store(store_url)
    assert store.damaged() == []
    again = acdc(capsys, *TARGET)
    assert again.code == 0
    assert store.run_ids() == [again.document["run_id"]]


@pytest.fixture
def long_search(tmp_path: Path) -> tuple[str, ...]:
    """A command that searches for many seconds: 1531 edges, of which nearly all stay."""
    model, pairs = tmp_path / "model", tmp_path / "pairs.jsonl"
    checkpoints.gpt2(model, layers=12)
    word_tokenizer(f"w{i}" for i in range(10)).save_pretrained(model)
    rows = [
        {
            "clean": [(i + j) % 20 for j in range(10)],
            "corrupted": [(3 * i + j) % 20 for j in range(10)],
        }
        for i in range(64)
    ]
    pairs.write_text("".join(json.dumps(row | {"correct": 9}) + "\n" for row in rows))
    return ("discover", str(pairs), f"dir:{model}", "--threshold", "1e-9", "--dtype", "float64")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_discover_stopped_in_the_middle_of_a_search_leaves_nothing(
    store_url, long_search: tuple[str, ...], number: signal.Signals
):
    with fork_acdc(*long_search, "--json") as process:
        assert any("searching 1531 edges" in text for text in process.stderr)
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.stdout.read() == ""
    assert open_store(store_url).run_ids() == []
    assert list(Path(store_url).rglob("*.parquet")) == []
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert rest.strip().startswith("acdc: interrupted")
        assert "Traceback" not in rest
