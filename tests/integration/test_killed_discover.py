"""A `discover` that is killed leaves no half run, and running it again completes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from tests.command_line import acdc, start_acdc

TARGET = ("discover", "compiled_or", "zoo:compiled-or", "--json")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("line", [None, "searching"])
def test_killed_discover_leaves_a_whole_run_or_none_and_runs_again(
    capsys, store_url, line: str | None
):
    with start_acdc(*TARGET) as process:
        assert process.stderr is not None
        if line is not None:
            assert any(line in text for text in process.stderr)
        process.send_signal(signal.SIGKILL)
    store = open_store(store_url)
    assert store.damaged() == []
    again = acdc(capsys, *TARGET)
    assert again.code == 0
    assert store.run_ids() == [again.document["run_id"]]


def test_interrupted_discover_says_so_and_ends_with_130(store_url):
    with start_acdc(*TARGET, "--prompts", "4096") as process:
        assert process.stderr is not None
        assert any("searching" in text for text in process.stderr)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert process.returncode == 130
    assert rest.strip().startswith("acdc: interrupted")
    assert "Traceback" not in rest
    assert open_store(store_url).run_ids() == []
    assert list(Path(store_url).rglob("*.parquet")) == []
