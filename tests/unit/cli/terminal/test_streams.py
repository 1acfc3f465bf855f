"""Commands whose stdout or stderr is closed or full, and interrupts while modules are imported."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY

SLOW = """\
import sys, time
sys.stdout.write("importing\\n")
sys.stdout.flush()
time.sleep(60)
"""


def in_shell(command: str, cwd: Path) -> tuple[int, str, str]:
    """Runs `command`, in which `acdc` is ours: exit code, stdout, stderr."""
    acdc = f"{shlex.quote(sys.executable)} -m acdc_pipeline "
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("acdc ", acdc, 1)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", ["tasks list", "tasks list --json", "--version", "--help"])
def test_stdout_that_is_full_fails_with_one_line(tmp_path, words: str):
    code, _, err = in_shell(f"acdc {words} >/dev/full", tmp_path)
    assert (code, err) == (3, "acdc: stdout: cannot be written: No space left on device\n")


def test_stdout_that_is_closed_keeps_nothing(tmp_path):
    assert in_shell("acdc tasks list >&-", tmp_path) == (0, "", "")


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-"])
def test_error_that_cannot_be_said_keeps_its_exit_code(tmp_path, stderr: str):
    assert in_shell(f"acdc runs show zz {stderr}", tmp_path) == (2, "", "")
    assert in_shell(f"acdc runs {stderr}", tmp_path) == (2, "", "")


def test_interrupt_during_an_import_ends_the_command_with_one_line(tmp_path):
    (tmp_path / "typer.py").write_text(SLOW)
    with subprocess.Popen(
        [sys.executable, "-m", "acdc_pipeline", "--version"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[1:] == [
        "acdc: interrupted; unfinished work is not in the store, and the same command "
        "continues from what is"
    ]


def test_interrupt_during_an_import_leaves_no_temporary_folder(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    program = """
from acdc_pipeline.cli.terminal.interrupts import install_interrupt_handler, temporary_folder
install_interrupt_handler()
with temporary_folder("acdc-") as folder:
    (folder / "kept").touch()
    import slow
"""
    (tmp_path / "temporary").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)]),
            "TMPDIR": str(tmp_path / "temporary"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        assert len(list((tmp_path / "temporary").iterdir())) == 1
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert list((tmp_path / "temporary").iterdir()) == []
