"""What commands suggest to do next, and where they say things are."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.command_line import Outcome, acdc, start_acdc

DISCOVER = ("discover", "compiled_or", "zoo:compiled-or", "--prompts", "8")


def suggested(shown: Outcome) -> list[list[str]]:
    """The commands that an answer names, as words, without `acdc`."""
    found = (line.partition(": acdc ")[2] for line in shown.out.splitlines())
    return [shlex.split(command) for command in found if command]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_what_discover_suggests_works_with_a_store_that_was_named(capsys):
    (command,) = suggested(acdc(capsys, *DISCOVER, "--store", "my store"))
    assert command[-2:] == ["--store", "my store"]
    assert acdc(capsys, *command).code == 0


def test_what_discover_suggests_leaves_the_store_of_the_environment_out(capsys):
    (command,) = suggested(acdc(capsys, *DISCOVER))
    assert "--store" not in command
    assert acdc(capsys, *command).code == 0


def test_what_demo_suggests_works_with_a_store_that_was_named(capsys):
    Path("small.yaml").write_text(
        "name: small\ntasks: [compiled_or]\nmodels: ['zoo:compiled-or']\n"
        "methods: [{name: acdc, thresholds: [0.1]}]\nprompts: 8\nseeds: [0]\n"
    )
    here = ("--executor", "local", "--out", "wiki")
    shown = acdc(capsys, "demo", "small.yaml", "--store", "my store", *here)
    assert "Stored in my store/runs/" in shown.out
    commands = suggested(shown)
    assert [command[:2] for command in commands] == [["runs", "show"], ["runs", "list"]]
    assert [acdc(capsys, *command).code for command in commands] == [0, 0]


def test_kl_stands_beside_that_of_a_model_without_any_edge(capsys):
    assert "with every edge removed)" in acdc(capsys, *DISCOVER).out


def test_threads_of_torch_are_as_asked(capsys):
    import torch

    before = torch.get_num_threads()
    try:
        assert acdc(capsys, *DISCOVER, "--threads", "2").code == 0
        assert torch.get_num_threads() == 2
        assert "torch uses 2 threads" in acdc(capsys, "doctor").out
    finally:
        torch.set_num_threads(before)
    acdc(capsys, *DISCOVER, "--threads", "0").refuses("--threads: 0 is too small")


def test_package_itself_is_the_command(tmp_path):
    with start_acdc("--version", program="acdc_pipeline", cwd=tmp_path) as process:
        out, err = process.communicate()
    assert (process.returncode, out.split()[0], err) == (0, "acdc", "")


@pytest.mark.parametrize(
    ("filters", "meant"),
    [
        (("--task", "compiled_orr"), " (did you mean --task compiled_or?)"),
        (("--model", "zoo:compiled-ro"), " (did you mean --model zoo:compiled-or?)"),
        (("--task", "xyzzy"), ""),
    ],
)
def test_filter_that_no_run_fits_suggests_a_name_that_runs_have(
    capsys, filters: tuple[str, str], meant: str
):
    acdc(capsys, *DISCOVER)
    assert acdc(capsys, "runs", "list", *filters).err.endswith(f" fits{meant}\n")
    assert acdc(capsys, "compare", *filters).err == f"no circuit to compare{meant}\n"


def test_device_that_does_not_exist_suggests_the_nearest(capsys):
    acdc(capsys, *DISCOVER, "--device", "cud").refuses(
        "unknown device 'cud'", "did you mean 'cuda'?"
    )


def test_device_that_does_not_exist_is_refused_for_a_stored_run_too(capsys):
    assert acdc(capsys, *DISCOVER).code == 0
    acdc(capsys, *DISCOVER, "--device", "cuda:x").refuses("unknown device 'cuda:x'")
