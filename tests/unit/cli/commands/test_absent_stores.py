"""Commands that read a store which does not exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import acdc
from tests.support import REPOSITORY


def test_runs_list_of_a_default_store_that_is_not_there_is_empty(capsys, store_url):
    listed = acdc(capsys, "runs", "list", "--json")
    assert (listed.code, listed.document["runs"]) == (0, [])
    assert "does not exist yet" in listed.err
    assert not Path(store_url).exists()


@pytest.mark.parametrize(
    "command",
    [
        ("runs", "list"),
        ("runs", "list", "--failed", "--json"),
        ("runs", "clean"),
        ("runs", "export", "3f2a"),
        ("runs", "show", "3f2a"),
        ("runs", "compare", "3f2a", "90cc"),
        ("evaluate", "3f2a"),
        ("compare",),
    ],
    ids=" ".join,
)
def test_store_that_is_named_and_does_not_exist_is_refused(capsys, tmp_path, command):
    absent = tmp_path / "none"
    shown = acdc(capsys, *command, "--store", absent)
    shown.refuses(f"{absent}: --store: the store does not exist", "check the path")
    assert not absent.exists()


def test_evaluate_refuses_what_it_is_given_before_torch_is_loaded(tmp_path):
    given = ["ioi", "zoo:gpt2-4l-s0", "--edges"]
    broken = tmp_path / "broken.json"
    broken.write_text('{"nodes": 5}')
    refused = (
        ["3f2a", "--store", str(tmp_path / "none")],
        [*given, str(tmp_path / "none.json")],
        [*given, str(broken)],
        [*given, "input->a0.h1"],
    )
    code = (
        "import sys; from acdc_pipeline.cli.main import main; "
        f"codes = [main(['evaluate', *words]) for words in {refused!r}]; "
        "print({'torch', 'transformers', 'transformer_lens'} & set(sys.modules), codes)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "set() [2, 2, 2, 2]\n"
