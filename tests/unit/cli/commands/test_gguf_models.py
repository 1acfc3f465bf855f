"""`gguf:` models on the command line: every command takes them, and says once that it converts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import checkpoints
from tests.command_line import acdc

pytest.importorskip("gguf", reason="needs the extra gguf")

from tests.gguf_files import write_gguf

PAIRS = [
    {"clean": [1, 5, 6, 7, 5], "corrupted": [1, 8, 6, 7, 8], "correct": [6], "incorrect": [9]},
    {"clean": [1, 9, 4, 3, 9], "corrupted": [1, 2, 4, 3, 2], "correct": [4], "incorrect": [7]},
]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A tiny Llama as a GGUF file."""
    return f"gguf:{write_gguf(checkpoints.llama(tmp_path / 'hf'), tmp_path / 'tiny.gguf')}"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    return path


def test_models_commands_convert_a_gguf_file_once_and_say_so(capsys, model: str, cache: Path):
    shown = acdc(capsys, "models", "show", model, "--json")
    assert shown.document["architecture"] == "LlamaForCausalLM"
    lines = [line for line in shown.err.splitlines() if "converting" in line]
    assert lines == [f"converting tiny.gguf (0 MB) to float32, once; kept in {cache / 'models'}"]
    checked = acdc(capsys, "models", "check", model, "--json")
    assert checked.document["passed"] is True
    assert checked.document["revision"] == shown.document["revision"]
    assert "converting" not in checked.err
    assert "de-quantizing" not in shown.err


def test_discover_in_a_gguf_model_is_answered_from_the_store_the_second_time(
    capsys, model: str, prompts: Path
):
    first = acdc(capsys, "discover", prompts, model, "--threshold", "0.01", "--json")
    again = acdc(capsys, "discover", prompts, model, "--threshold", "0.01", "--json")
    assert first.code == again.code == 0, first.err
    assert (first.document["cached"], again.document["cached"]) == (False, True)
    assert first.document["run_id"] == again.document["run_id"]


def test_sweep_over_a_gguf_model_is_planned_and_run(
    capsys, model: str, prompts: Path, tmp_path: Path
):
    sweep = tmp_path / "small.yaml"
    sweep.write_text(
        f"name: small\ntasks: ['{prompts}']\nmodels: ['{model}']\n"
        "methods:\n  - {name: acdc, thresholds: [0.1]}\nprompts: 2\nseeds: [0]\n"
    )
    planned = acdc(capsys, "plan", sweep, "--json")
    assert planned.code == 0, planned.err
    done = acdc(capsys, "run", sweep, "--json")
    assert done.code == 0, done.err
    assert "converting" not in done.err
    listed = acdc(capsys, "runs", "list", "--json").document["runs"]
    assert [run["model"] for run in listed] == [model]


def test_gguf_file_that_is_cut_off_ends_a_command_with_one_error(capsys, model: str):
    path = Path(model.removeprefix("gguf:"))
    path.write_bytes(path.read_bytes()[:3000])
    acdc(capsys, "models", "show", model).refuses(
        f"{path}: cannot be read to its end", "download it again"
    )
