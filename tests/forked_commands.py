"""Commands in processes of their own that need not import torch: forks of one that has.

For tests of what happens to a command at work, several of which would spend most of their time in
imports. Tests of a command from its very start use `tests.command_line`.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Self
from unittest import mock

from tests.support import REPOSITORY

IMPORTED = (
    "acdc_pipeline.cli.main",
    "acdc_pipeline.execution.worker",
    "transformer_lens.model_bridge.sources.native",
    "transformers.models.gpt2.modeling_gpt2",
)
"""What takes seconds to import, of which the commands need most."""


class ForkedCommand:
    """`acdc` at work, with the members of `subprocess.Popen` that tests use."""

    def __init__(self, arguments: Sequence[str]) -> None:
        ours, theirs = zip(*(_context().Pipe(duplex=False) for _ in range(2)), strict=True)
        given = (theirs, dict(os.environ), arguments)
        self._process: Any = _context().Process(target=_run, args=given, daemon=True)
        self._process.start()
        for end in theirs:
            end.close()
        self.stdout, self.stderr = map(_text_of, ours)
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def communicate(self) -> tuple[str, str]:
        """Return all that it writes to stdout and to stderr, once it has ended."""
        said: list[str] = []
        with self:
            reader = threading.Thread(target=lambda: said.append(self.stderr.read()))
            reader.start()
            out = self.stdout.read()
            reader.join()
        return out, said[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.stderr.close()
        self._process.join()


def fork_acdc(*arguments: str | Path) -> ForkedCommand:
    """Starts `acdc` in a process that has imported what it needs, in the folder of this one."""
    return ForkedCommand([*map(str, arguments)])


@cache
def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED])
    with mock.patch.dict(os.environ, PYTHONPATH=str(REPOSITORY)):
        multiprocessing.forkserver.ensure_running()
    return context


def _text_of(end: Connection) -> IO[str]:
    stream = os.fdopen(os.dup(end.fileno()))
    end.close()
    return stream


def _run(ends: Sequence[Connection], environment: Mapping[str, str], words: Sequence[str]) -> None:
    for number, end in enumerate(ends, start=1):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["acdc", *words]
    from acdc_pipeline.cli.main import main

    sys.exit(main())
