"""The command line, called as the installed `acdc` calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from acdc_pipeline.cli.main import main
from tests.support import REPOSITORY


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """stdout as the one JSON document it has to be."""
        return json.loads(self.out)

    def refuses(self, *parts: str) -> None:
        """Asserts the form of every refusal: exit 2, one message with these parts, no output."""
        assert self.code == 2, self.err
        assert self.out == ""
        message = self.err[self.err.index("acdc: ") :]
        assert message.count("acdc: ") == 1
        assert "Traceback" not in self.err
        for part in parts:
            assert part in message


def acdc(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Outcome:
    """Runs `acdc` with `arguments` in this process, through its entry point."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return Outcome(code, out, err)


def start_acdc(
    *arguments: str | Path,
    cwd: Path | None = None,
    program: str = "acdc_pipeline.cli.main",
    stdout: int | IO[str] = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Starts `acdc`, which is `program` to `python -m`, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", program, *map(str, arguments)],
        cwd=cwd or REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_acdc(*arguments: str | Path, cwd: Path | None = None) -> Outcome:
    """Runs `acdc` in a process of its own, to its end."""
    with start_acdc(*arguments, cwd=cwd) as process:
        out, err = process.communicate()
    return Outcome(process.returncode, out, err)
