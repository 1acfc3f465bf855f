"""A real Ray head node that runs the jobs of anyone who reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from tests.command_line import acdc
from tests.ray_head import ray_head

pytestmark = pytest.mark.ray

# The tokenizer of the model does not know the words of this task.
SWEEP = """
name: small
tasks: [compiled_reverse]
models: ["zoo:compiled-or"]
methods: [{name: acdc, thresholds: [0.1]}]
prompts: 8
seeds: [0]
"""


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    with ray_head() as url:
        yield url


def test_open_cluster_is_refused_unless_asked_for_and_a_failing_sweep_ends_with_3(
    head, capsys, tmp_path, monkeypatch, store_url
):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SWEEP)
    arguments = ("submit", "small.yaml", "--address", head)
    acdc(capsys, *arguments).refuses("CVE-2023-48022", "--insecure")
    assert acdc(capsys, "status", "--address", head, "--json").document == {"jobs": []}
    shown = acdc(capsys, *arguments, "--insecure", "--follow")
    assert shown.code == 3, shown.out + shown.err
    assert "open to everyone who can reach it" in shown.out
    assert "1 of 1 run failed" in shown.out
    assert "failed after" in shown.err
    assert open_store(store_url).run_ids() == []
